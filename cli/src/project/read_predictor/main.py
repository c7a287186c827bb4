"""Reads a Cog predictor without running it: inputs, output and concurrency come from the syntax tree alone.

The four files of this folder are one script. On stdin {"root": project, "predict": "predict.py:Predictor", "train": "train.py:train" or null};
on stdout {"predict": {input, output, enums, concurrency}, "train": … or null}, or {"error": what cannot be read, and where}.
"""

import ast
import json
import resource
import sys
from pathlib import Path

CPU_SECONDS_MAX = 10
MEMORY_BYTES_MAX = 1 << 30
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
                choices = iterated(where, expression, lambda node: literal(where, node, what)) or choices
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
    seen = set()
    while isinstance(node, ast.ClassDef) and node not in seen:
        seen.add(node)
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
    json.dump(answer, sys.stdout, allow_nan=False)


main()
