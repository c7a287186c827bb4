"""Reads a Cog predictor without running it: inputs, output and concurrency come from the syntax tree alone.

On stdin {"root": project, "predict": "predict.py:Predictor", "train": "train.py:train" or null};
on stdout {"predict": {input, output, enums, concurrency}, "train": … or null}, or {"error": what cannot be read, and where}.
"""

import ast
import json
import math
import resource
import sys
from pathlib import Path

CPU_SECONDS_MAX = 10
MEMORY_BYTES_MAX = 1 << 30
SOURCE_BYTES_MAX = 4 << 20
DEPTH_MAX = 40
ITEMS_MAX = 10_000

FILE = {"type": "string", "format": "uri"}
PRIMITIVES = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "Path": FILE,
    "File": FILE,
    "Secret": {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True},
    "Any": {"type": "object"},
    "dict": {"type": "object"},
    "Dict": {"type": "object"},
}
ITERATORS = {"Iterator", "AsyncIterator", "Generator", "AsyncGenerator", "Iterable", "AsyncIterable"}
CONCATENATE_ITERATORS = {"ConcatenateIterator", "AsyncConcatenateIterator"}
MODEL_BASES = {"BaseModel", "TypedDict"}
ENUM_BASES = {"Enum", "StrEnum", "IntEnum"}
ARITHMETIC = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}
CONSTRAINTS = {
    "description": "description",
    "ge": "minimum",
    "le": "maximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "regex": "pattern",
    "deprecated": "deprecated",
    "accept": "x-cog-accept",
}


class Unreadable(Exception):
    """Something that only running the code would tell."""


class Module:
    """One source file of the project: its top-level names, and what it imports from where."""

    loaded = {}

    def __init__(self, root, path):
        self.root, self.path = root, path
        self.names, self.imports, self.stars = {}, {}, []
        if path.stat().st_size > SOURCE_BYTES_MAX:
            raise Unreadable(f"{self.name} is larger than {SOURCE_BYTES_MAX} bytes")
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError) as error:
            raise Unreadable(f"{self.name}:{getattr(error, 'lineno', None) or 1} is not Python: {error}") from None
        self.collect(tree.body)

    @property
    def name(self):
        return self.path.relative_to(self.root).as_posix()

    @classmethod
    def load(cls, root, relative):
        path = (root / relative).resolve()
        if root not in path.parents:
            raise Unreadable(f"{relative} lies outside the project")
        if path not in cls.loaded:
            if not path.is_file():
                raise Unreadable(f"there is no {relative} in the project")
            cls.loaded[path] = cls(root, path)
        return cls.loaded[path]

    def collect(self, body):
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                self.names[node.name] = node
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self.names[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                self.names[node.target.id] = node.value
            elif type(node).__name__ == "TypeAlias":
                self.names[node.name.id] = node.value
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.split(".")[0]
                    self.imports[alias.asname or first] = (alias.name if alias.asname else first, None)
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                for alias in node.names:
                    if alias.name == "*":
                        self.stars.append(module)
                    else:
                        self.imports[alias.asname or alias.name] = (module, alias.name)
            elif isinstance(node, (ast.If, ast.Try)):
                for block in (node.body, node.orelse, *(handler.body for handler in getattr(node, "handlers", []))):
                    self.collect(block)

    def sibling(self, module):
        """The project's own file behind an import, or None when it is somebody else's."""
        level = len(module) - len(module.lstrip("."))
        folder = self.path.parents[level - 1] if level else self.root
        parts = [part for part in module.lstrip(".").split(".") if part]
        for candidate in (folder.joinpath(*parts).with_suffix(".py") if parts else None, folder.joinpath(*parts, "__init__.py")):
            if candidate and candidate.is_file() and self.root in candidate.resolve().parents:
                return Module.load(self.root, candidate.relative_to(self.root))
        return None

    def find(self, name, depth=0):
        """(module, node) of a name that the project defines, ("cog", "Input") of one that it imports, or None."""
        if depth > DEPTH_MAX:
            return None
        if name in self.names:
            return self, self.names[name]
        if name in self.imports:
            module, original = self.imports[name]
            sibling = self.sibling(module)
            if sibling is None:
                return module, original
            return sibling.find(original, depth + 1) if original else (sibling, None)
        for module in self.stars:
            sibling = self.sibling(module)
            found = sibling.find(name, depth + 1) if sibling else None
            if found:
                return found
        return None

    def look_up(self, node):
        """What a name or a dotted name stands for: (module, node) in the project, or its last word when it is somebody else's."""
        if isinstance(node, ast.Name):
            found = self.find(node.id)
            if found is None:
                return node.id
            owner, what = found
            return found if isinstance(owner, Module) and what is not None else (what or node.id)
        if isinstance(node, ast.Attribute):
            base = self.look_up(node.value)
            found = self.find(node.value.id) if isinstance(node.value, ast.Name) else None
            if found and isinstance(found[0], Module) and found[1] is None:
                return found[0].find(node.attr) or node.attr
            if isinstance(base, tuple) and isinstance(base[1], ast.ClassDef):
                owner, definition = base
                value = class_names(definition).get(node.attr)
                return (owner, value) if value is not None else node.attr
            return node.attr
        return None

    def at(self, node):
        return f"{self.name}:{node.lineno}"


def class_names(definition):
    names = {}
    for node in definition.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            names[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            names[node.target.id] = node.value
    return names


def bases(module, definition):
    """The last words of all that a class derives from, the project's own classes followed."""
    found = set()
    for base in definition.bases:
        target = module.look_up(base)
        if isinstance(target, tuple) and isinstance(target[1], ast.ClassDef):
            found |= bases(*target)
        elif isinstance(target, str):
            found.add(target)
    return found


def is_enum(target):
    return isinstance(target, tuple) and isinstance(target[1], ast.ClassDef) and bool(bases(*target) & ENUM_BASES)


def enum_values(module, definition):
    values = []
    for name, node in class_names(definition).items():
        if not name.startswith("_"):
            call = module.look_up(node.func) if isinstance(node, ast.Call) else None
            automatic = name.lower() if "StrEnum" in bases(module, definition) else len(values) + 1
            values.append(automatic if call == "auto" else literal(module, node, f"the value of `{definition.name}.{name}`"))
    return values


def literal(module, node, what, depth=0):
    """The value of an expression that is written out, or made from constants of the project by plain arithmetic."""

    def unreadable():
        return Unreadable(f"{what} at {module.at(node)} is not a literal: write the value itself")

    def value(inner):
        return literal(module, inner, what, depth + 1)

    if depth > DEPTH_MAX:
        raise unreadable()
    try:
        if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, (str, int, float, bool))):
            return node.value
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return [item for element in node.elts for item in (value(element.value) if isinstance(element, ast.Starred) else [value(element)])]
        if isinstance(node, ast.Dict) and all(node.keys):
            return {value(key): value(item) for key, item in zip(node.keys, node.values)}
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd, ast.Not)):
            operand = value(node.operand)
            return -operand if isinstance(node.op, ast.USub) else not operand if isinstance(node.op, ast.Not) else operand
        if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            left, right = value(node.left), value(node.right)
            repeats = isinstance(node.op, ast.Mult) and not all(isinstance(side, (int, float)) for side in (left, right))
            if repeats or isinstance(left, str) and isinstance(node.op, ast.Mod):
                raise unreadable()
            return ARITHMETIC[type(node.op)](left, right)
        if isinstance(node, ast.JoinedStr):
            return "".join(str(value(part.value if isinstance(part, ast.FormattedValue) else part)) for part in node.values)
        if isinstance(node, ast.Subscript):
            return value(node.value)[value(node.slice)]
        if isinstance(node, ast.Call) and not node.keywords:
            return called(module, node, value)
        if isinstance(node, ast.Attribute) and node.attr == "value":
            return value(node.value)
        if isinstance(node, (ast.Name, ast.Attribute)):
            target = module.look_up(node)
            if isinstance(target, tuple) and isinstance(target[1], ast.expr):
                return literal(target[0], target[1], what, depth + 1)
            if is_enum(target):
                return enum_values(*target)
    except (TypeError, KeyError, IndexError, ValueError, ArithmeticError):
        pass
    raise unreadable()


def called(module, node, value):
    """list(X), sorted(X), X.keys() and their like, over values that are literals themselves."""
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("keys", "values") and not node.args:
        return list(getattr(value(node.func.value), node.func.attr)())
    name = module.look_up(node.func)
    arguments = [value(argument) for argument in node.args]
    if name in ("list", "tuple", "set", "frozenset"):
        return list(*arguments)
    if name == "sorted":
        return sorted(*arguments)
    if name == "range" and len(span := range(*arguments)) <= ITEMS_MAX:
        return list(span)
    if name in ("str", "int", "float", "len", "min", "max") and arguments:
        return {"str": str, "int": int, "float": float, "len": len, "min": min, "max": max}[name](*arguments)
    raise ValueError(name)


def as_json(value, what, place):
    if isinstance(value, float) and not math.isfinite(value):
        raise Unreadable(f"{what} at {place} is {value}, which JSON cannot write")
    return value


def parse_annotation(module, node):
    """An annotation as an expression: one in quotes is parsed, an alias of the project is followed."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            quoted = ast.parse(node.value, mode="eval").body
        except SyntaxError:
            raise Unreadable(f"the annotation at {module.at(node)} is not Python") from None
        return module, ast.fix_missing_locations(ast.copy_location(quoted, node))
    if isinstance(node, (ast.Name, ast.Attribute)):
        target = module.look_up(node)
        if isinstance(target, tuple) and isinstance(target[1], (ast.Subscript, ast.BinOp, ast.Name, ast.Attribute)):
            return parse_annotation(*target)
    return module, node


def arguments_of(node):
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def is_none(node):
    return isinstance(node, ast.Constant) and node.value is None


def union_members(module, node):
    """The members of X | Y, Union[X, Y] and Optional[X]; None for anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [member for side in (node.left, node.right) for member in (union_members(module, side) or [side])]
    if isinstance(node, ast.Subscript):
        name = module.look_up(node.value)
        if name == "Optional":
            return [*arguments_of(node), ast.Constant(None)]
        if name == "Union":
            return arguments_of(node)
    return None


def choices_schema(values, what):
    kinds = {type(value) for value in values}
    for kind, name in (({bool}, "boolean"), ({int}, "integer"), ({int, float}, "number"), ({str}, "string")):
        if values and kinds <= kind:
            return {"enum": values, "type": name}
    raise Unreadable(f"{what} has choices that are not all texts or all numbers")


def type_schema(module, node, what, seen=()):
    """The JSON schema of an annotation, with `nullable` when it may be None."""
    module, node = parse_annotation(module, node)
    unsupported = Unreadable(f"{what} at {module.at(node)} has the type {ast.unparse(node)}, which a schema cannot say")
    members = union_members(module, node)
    if members is not None:
        rest = [member for member in members if not is_none(member)]
        if len(rest) != 1 or len(rest) == len(members):
            raise unsupported
        return {**type_schema(module, rest[0], what, seen), "nullable": True}
    if isinstance(node, ast.Subscript):
        name, inner = module.look_up(node.value), arguments_of(node)
        if name in ("list", "List", "Sequence", "tuple", "Tuple", "set", "Set"):
            return {"type": "array", "items": type_schema(module, inner[0], what, seen)}
        if name in ("dict", "Dict", "Mapping"):
            return {"type": "object", "additionalProperties": type_schema(module, inner[-1], what, seen)}
        if name in ("Annotated", "Required", "NotRequired"):
            return type_schema(module, inner[0], what, seen)
        if name == "Literal":
            return choices_schema([literal(module, value, what) for value in inner], what)
        raise unsupported
    target = module.look_up(node)
    if isinstance(target, str):
        if target in ("list", "List"):
            return {"type": "array", "items": {"type": "object"}}
        if target in PRIMITIVES:
            return dict(PRIMITIVES[target])
    elif is_enum(target):
        return choices_schema(enum_values(*target), what)
    elif isinstance(target, tuple) and isinstance(target[1], ast.ClassDef):
        return {"type": "object"} if target[1].name in seen else object_schema(*target, (*seen, target[1].name))
    raise unsupported


def object_schema(module, definition, seen):
    """A BaseModel, TypedDict or dataclass: its annotated fields, those of its bases first."""
    decorators = {module.look_up(d.func if isinstance(d, ast.Call) else d) for d in definition.decorator_list}
    if not bases(module, definition) & MODEL_BASES and "dataclass" not in decorators:
        raise Unreadable(f"{definition.name} at {module.at(definition)} is no BaseModel, so its fields are unknown")
    properties, required = {}, []
    for base in definition.bases:
        target = module.look_up(base)
        if isinstance(target, tuple) and isinstance(target[1], ast.ClassDef):
            inherited = object_schema(*target, seen)
            properties.update(inherited.get("properties", {}))
            required += inherited.get("required", [])
    for field in definition.body:
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name) or field.target.id.startswith("_"):
            continue
        name = field.target.id
        if isinstance(field.annotation, ast.Subscript) and module.look_up(field.annotation.value) == "ClassVar":
            continue
        schema = type_schema(module, field.annotation, f"the field `{name}`", seen)
        properties[name] = {**schema, "title": title(name)}
        if name in required:
            required.remove(name)
        if not has_default(field.value) and not schema.get("nullable"):
            required.append(name)
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def has_default(value):
    """Whether a field's right side gives it one: `Field(...)` and `Field(description=…)` do not."""
    if value is None:
        return False
    if isinstance(value, ast.Call):
        first = value.args[0] if value.args else None
        named = {keyword.arg for keyword in value.keywords} & {"default", "default_factory"}
        return bool(named) or first is not None and not (isinstance(first, ast.Constant) and first.value is ...)
    return True


def title(name):
    return " ".join(word[:1].upper() + word[1:] for word in name.split("_") if word)


def input_call(module, node):
    """The `Input(…)` behind a default, also one that is kept in a constant."""
    if isinstance(node, (ast.Name, ast.Attribute)):
        target = module.look_up(node)
        if isinstance(target, tuple) and isinstance(target[1], ast.Call):
            module, node = target
    if isinstance(node, ast.Call) and module.look_up(node.func) == "Input":
        return module, node
    return None


def read_input(module, argument, default, order, enums):
    name = argument.arg
    if argument.annotation is None:
        raise Unreadable(f"the input `{name}` at {module.at(argument)} has no type: write `{name}: str` or its like")
    schema = type_schema(module, argument.annotation, f"the input `{name}`")
    nullable = schema.pop("nullable", False)
    choices = schema.pop("enum", None)
    constraints, has_effective_default, value = {}, default is not None, None
    call = input_call(module, default)
    if call is None and default is not None:
        value = literal(module, default, f"the default of `{name}`")
    elif call is not None:
        where, node = call
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if node.args:
            given["default"] = node.args[0]
        has_effective_default = "default" in given
        for key, expression in given.items():
            what = f"the {key} of `{name}`"
            if key == "default":
                value = literal(where, expression, what)
            elif key == "choices":
                choices = literal(where, expression, what) or choices
            elif key in CONSTRAINTS:
                found = literal(where, expression, what)
                if found is not None and found is not False:
                    constraints[CONSTRAINTS[key]] = as_json(found, what, where.at(node))
            else:
                raise Unreadable(f"Input at {where.at(node)} takes no `{key}`")
    # Cog's own rule: None is no value of a type that is not optional, but for a secret it means that none was given.
    nullable = nullable or "x-cog-secret" in schema and has_effective_default and value is None
    if value is None and not nullable:
        has_effective_default = False
    if choices is not None:
        if isinstance(choices, dict):
            choices = list(choices)
        enums[name] = {"title": name, "description": "An enumeration.", **choices_schema(choices, f"the input `{name}`")}
        if value is not None and value not in choices:
            raise Unreadable(f"the default of `{name}` at {module.at(argument)} is none of its choices")
        schema = {"allOf": [{"$ref": f"#/components/schemas/{name}"}]}
    else:
        schema["title"] = title(name)
    schema |= {"x-order": order, **constraints}
    if has_effective_default:
        schema["default"] = as_json(value, f"the default of `{name}`", module.at(argument))
    if nullable:
        schema["nullable"] = True
    return schema, not has_effective_default and not nullable


def read_output(module, function):
    if function.returns is None:
        raise Unreadable(f"{function.name} at {module.at(function)} does not say what it returns: write `-> str` or its like")
    what = f"what {function.name} returns"
    module, node = parse_annotation(module, function.returns)
    if isinstance(node, ast.Subscript):
        name, inner = module.look_up(node.value), arguments_of(node)
        if name in ITERATORS | CONCATENATE_ITERATORS:
            schema = {"type": "array", "items": type_schema(module, inner[0], what), "x-cog-array-type": "iterator"}
            if name in CONCATENATE_ITERATORS:
                schema["x-cog-array-display"] = "concatenate"
            return {"title": "Output", **schema}
    return {**type_schema(module, node, what), "title": "Output"}


def concurrency(module, function):
    for decorator in function.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        if module.look_up(call.func if call else decorator) != "concurrent":
            continue
        given = [keyword.value for keyword in call.keywords if keyword.arg == "max"] if call else []
        most = literal(module, given[0], "the max of @concurrent") if given else 1
        if type(most) is not int or most < 1:
            raise Unreadable(f"the max of @concurrent at {module.at(decorator)} is not a number from 1")
        if most > 1 and not isinstance(function, ast.AsyncFunctionDef):
            raise Unreadable(f"@concurrent at {module.at(decorator)} needs an `async def`")
        return most
    return 1


def find_function(module, name, methods):
    target = module.find(name)
    if target is None or not isinstance(target[0], Module):
        raise Unreadable(f"{module.name} has no `{name}`")
    owner, node = target
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return owner, node
    while isinstance(node, ast.ClassDef):
        for method in methods:
            for item in node.body:
                if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and item.name == method:
                    return owner, item
        parents = [found for base in node.bases if isinstance(found := owner.look_up(base), tuple)]
        if not parents:
            break
        owner, node = parents[0]
    raise Unreadable(f"`{name}` in {module.name} has no {' or '.join(methods)}")


def read(root, target, methods):
    file, _, name = target.partition(":")
    if not name:
        raise Unreadable(f"{target} does not name a class or function: write `{file}:Predictor`")
    module, function = find_function(Module.load(root, file), name, methods)
    signature = function.args
    if signature.vararg or signature.kwarg:
        raise Unreadable(f"{function.name} at {module.at(function)} takes * arguments: name every input")
    positional = [*signature.posonlyargs, *signature.args]
    defaults = [None] * (len(positional) - len(signature.defaults)) + signature.defaults
    arguments = [*zip(positional, defaults), *zip(signature.kwonlyargs, signature.kw_defaults)]
    properties, required, enums = {}, [], {}
    for argument, default in arguments:
        if argument.arg == "self":
            continue
        schema, is_required = read_input(module, argument, default, len(properties), enums)
        properties[argument.arg] = schema
        if is_required:
            required.append(argument.arg)
    inputs = {"type": "object", "properties": properties, **({"required": required} if required else {})}
    return {"input": inputs, "output": read_output(module, function), "enums": enums, "concurrency": concurrency(module, function)}


def main():
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS_MAX, CPU_SECONDS_MAX))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":  # macOS refuses a limit on addresses.
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    order = json.load(sys.stdin)
    root = Path(order["root"]).resolve()
    try:
        answer = {"predict": read(root, order["predict"], ("run", "predict"))}
        answer["train"] = read(root, order["train"], ("train",)) if order["train"] else None
    except Unreadable as error:
        answer = {"error": str(error)}
    except (RecursionError, MemoryError):
        answer = {"error": f"{order['predict']} is nested too deeply to be read"}
    json.dump(answer, sys.stdout)


main()
