"""Annotations as JSON schemas, in Cog's own spelling."""

import ast

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
