"""The project's source as syntax trees: what a name stands for, in this file or in another one of the project."""

import ast

SOURCE_BYTES_MAX = 4 << 20
DEPTH_MAX = 40


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
