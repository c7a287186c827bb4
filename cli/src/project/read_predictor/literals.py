"""Values that are written out in the source, or made from constants of the project by plain arithmetic."""

import ast
import math

ITEMS_MAX = 10_000
ENUM_BASES = {"Enum", "StrEnum", "IntEnum"}
ARITHMETIC = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}


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
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.SetComp)):
            return comprehended(module, node, value)
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


def iterated(module, node, value):
    """What going through a value yields. Of a dictionary that is its keys alone: what they stand for need not be a literal."""
    target = module.look_up(node) if isinstance(node, (ast.Name, ast.Attribute)) else (module, node)
    if isinstance(target, tuple) and isinstance(target[1], ast.Dict) and all(target[1].keys):
        owner, table = target
        return [literal(owner, key, "a key") for key in table.keys]
    return value(node)


def called(module, node, value):
    """list(X), sorted(X), X.keys() and their like, over values that are literals themselves."""
    if isinstance(node.func, ast.Attribute) and not node.args:
        if node.func.attr == "keys":
            return iterated(module, node.func.value, value)
        if node.func.attr == "values":
            return list(value(node.func.value).values())
    name = module.look_up(node.func)
    if name in ("list", "tuple", "set", "frozenset", "sorted") and len(node.args) == 1:
        items = iterated(module, node.args[0], value)
        return sorted(items) if name == "sorted" else list(items)
    arguments = [value(argument) for argument in node.args]
    if name == "range" and len(span := range(*arguments)) <= ITEMS_MAX:
        return list(span)
    if name in ("str", "int", "float", "len", "min", "max") and arguments:
        return {"str": str, "int": int, "float": float, "len": len, "min": min, "max": max}[name](*arguments)
    raise ValueError(name)


def comprehended(module, node, value):
    """[x for x in XS] and [color.value for color in Color]: each item as it is."""
    (loop,) = node.generators
    item = node.elt.value if isinstance(node.elt, ast.Attribute) and node.elt.attr == "value" else node.elt
    if loop.ifs or not isinstance(loop.target, ast.Name) or not isinstance(item, ast.Name) or item.id != loop.target.id:
        raise ValueError("more than the items themselves")
    return list(iterated(module, loop.iter, value))


def as_json(value, what, place):
    if isinstance(value, float) and not math.isfinite(value):
        raise Unreadable(f"{what} at {place} is {value}, which JSON cannot write")
    return value
