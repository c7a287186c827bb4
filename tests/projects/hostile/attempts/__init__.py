"""What a hostile model tries. Each attempt returns what it got, nothing when nothing came of it, or ends with the kernel's refusal."""

import errno
import json
import sys

from . import files, kernel, network, processes

ATTEMPTS = {function.__name__: function for part in (processes, files, network, kernel) for function in part.ATTEMPTS}


def attempt(name: str, facts: dict) -> dict:
    try:
        got = ATTEMPTS[name](facts)
    except OSError as refusal:
        return {"got": None, "refusal": errno.errorcode.get(refusal.errno, str(refusal))}
    return {"got": got and str(got)[:200], "refusal": None}


def main() -> None:
    """Tries one without any walls, for comparison."""
    print(json.dumps(attempt(sys.argv[1], json.load(sys.stdin))))
