"""Processes of this machine, by what the kernel says of them."""

from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    pid: int
    # Ticks since boot: a later process that gets the same id is another one.
    started: int


def alive(process: Process) -> bool:
    return process in _all().values()


def descendants(pid: int) -> list[Process]:
    """The children of a process, and theirs."""
    processes = _all()
    found: list[Process] = []
    parents = {pid}
    while parents:
        children = [process for (parent, _), process in processes.items() if parent in parents]
        found += children
        parents = {child.pid for child in children}
    return found


def _all() -> dict[tuple[int, int], Process]:
    """All processes but zombies, by parent and id."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid, fields = int(name.split()[0]), rest.split()
        state, parent, started = fields[0], int(fields[1]), int(fields[19])
        if state != "Z":
            found[parent, pid] = Process(pid, started)
    return found
