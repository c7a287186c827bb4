"""Waiting for a condition, never for a while."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_EVERY_SECONDS = 0.02


def until(condition: Callable[[], T], seconds: float, *, fail: bool = True) -> T | None:
    """Looks until `condition` is true, and returns what it said; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (said := condition()):
        if time.monotonic() > deadline:
            assert not fail, f"still not so after {seconds} s: {condition.__name__}"
            return said
        time.sleep(LOOK_EVERY_SECONDS)
    return said
