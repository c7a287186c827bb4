"""Turns an honest hook into a hostile one by changing its WebAssembly: so a test needs no compiler for each kind of malice.

A component is a list of sections; the one of kind 1 is a core module, itself a list of sections. The function behind the exported
name is found there, and its body replaced. See https://webassembly.github.io/spec/core/binary/.
"""

from collections.abc import Iterator

PREAMBLE_BYTES = 8
CORE_MODULE = 1
IMPORT, EXPORT, CODE = 2, 7, 10
FUNCTION = 0

# Bodies without locals: `unreachable`, and `loop; br 0; end; unreachable`.
TRAP = bytes([0x00, 0x00, 0x0B])
LOOP = bytes([0x00, 0x03, 0x40, 0x0C, 0x00, 0x0B, 0x00, 0x0B])

PROCESS = "feira:hook/pre@0.1.0#process"


def trapping(component: bytes) -> bytes:
    return _with_body(component, PROCESS, TRAP)


def looping(component: bytes) -> bytes:
    return _with_body(component, PROCESS, LOOP)


def importing_what_it_may_not(component: bytes) -> bytes:
    """The same component, asking for an interface that the contract does not have. The name is as long, so nothing moves."""
    changed = component.replace(b"feira:hook/config@", b"feira:hook/secret@")
    assert changed != component
    return changed


def _with_body(component: bytes, export: str, body: bytes) -> bytes:
    changed = component[:PREAMBLE_BYTES]
    for kind, content in _sections(component):
        if kind == CORE_MODULE and export.encode() in content:
            content = _module_with_body(content, export, body)
        changed += bytes([kind]) + _unsigned(len(content)) + content
    assert changed != component
    return changed


def _module_with_body(module: bytes, export: str, body: bytes) -> bytes:
    sections = dict(_sections(module))
    index = _exported(sections[EXPORT])[export] - _imported_functions(sections[IMPORT])
    changed = module[:PREAMBLE_BYTES]
    for kind, content in _sections(module):
        if kind == CODE:
            content = _code_with_body(content, index, body)
        changed += bytes([kind]) + _unsigned(len(content)) + content
    return changed


def _code_with_body(code: bytes, index: int, body: bytes) -> bytes:
    reader = Reader(code)
    bodies = [reader.take(reader.unsigned()) for _ in range(reader.unsigned())]
    bodies[index] = body
    return _unsigned(len(bodies)) + b"".join(_unsigned(len(one)) + one for one in bodies)


def _exported(section: bytes) -> dict[str, int]:
    reader = Reader(section)
    found = {}
    for _ in range(reader.unsigned()):
        name, kind, index = reader.name(), reader.byte(), reader.unsigned()
        if kind == FUNCTION:
            found[name] = index
    return found


def _imported_functions(section: bytes) -> int:
    """How many functions a module imports; the guests import nothing else."""
    reader = Reader(section)
    count = reader.unsigned()
    for _ in range(count):
        reader.name(), reader.name()
        assert reader.byte() == FUNCTION
        reader.unsigned()
    return count


def _sections(binary: bytes) -> Iterator[tuple[int, bytes]]:
    reader = Reader(binary)
    reader.take(PREAMBLE_BYTES)
    while reader.at < len(binary):
        yield reader.byte(), reader.take(reader.unsigned())


class Reader:
    """A place in a binary."""

    def __init__(self, binary: bytes):
        self.binary = binary
        self.at = 0

    def take(self, count: int) -> bytes:
        self.at += count
        return self.binary[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def unsigned(self) -> int:
        """A LEB128: seven bits a byte, the lowest first; a byte below 128 is the last."""
        number = place = 0
        while True:
            digit = self.byte()
            number |= (digit & 127) << place
            place += 7
            if digit < 128:
                return number

    def name(self) -> str:
        return self.take(self.unsigned()).decode()


def _unsigned(number: int) -> bytes:
    digits = []
    while True:
        number, digit = divmod(number, 128)
        digits.append(digit | (128 if number else 0))
        if not number:
            return bytes(digits)
