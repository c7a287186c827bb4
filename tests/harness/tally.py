"""Runs the steps of a suite: each one's output goes to a file, its result to a count."""

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

TAIL_LINES = 60
CARGO_RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed", re.MULTILINE)
CARGO_FAILURES = re.compile(r"^failures:$.*?^test result: FAILED", re.MULTILINE | re.DOTALL)


@dataclass
class Tally:
    """How many tests passed and failed."""

    passed: int = 0
    failed: int = 0

    def __iadd__(self, other: "Tally") -> "Tally":
        self.passed += other.passed
        self.failed += other.failed
        return self

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed"


def from_cargo(output: str) -> Tally:
    tally = Tally()
    for passed, failed in CARGO_RESULT.findall(output):
        tally += Tally(int(passed), int(failed))
    return tally


def from_junit(report: Path) -> Tally:
    """Counts the report that pytest and node write. A test that was skipped did not pass."""
    if not report.exists():
        return Tally()
    cases = list(ElementTree.parse(report).iter("testcase"))
    passed = sum(all(case.find(word) is None for word in ("failure", "error", "skipped")) for case in cases)
    return Tally(passed, len(cases) - passed)


def told(log: str) -> str:
    """What a log says of failures: those of cargo, whose tests go on after them; else its end."""
    tail = "\n".join(log.splitlines()[-TAIL_LINES:])
    return "\n".join(CARGO_FAILURES.findall(log)) or tail


@dataclass
class Steps:
    """The steps of one suite."""

    suite: str
    logs: Path

    def run(
        self,
        name: str,
        command: Sequence[object],
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        report: Path | None = None,
    ) -> Tally:
        """Runs a command to its end. What it counts is its report's, or its cargo results, or itself."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{self.suite}-{name}.log"
        if report:
            report.unlink(missing_ok=True)
        say(f"{self.suite}: {name} …")
        began = time.monotonic()
        with log.open("w") as output:
            words = [str(word) for word in command]
            env = {**os.environ, **(environment or {})}
            code = subprocess.run(words, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT).returncode
        tally = self._counted(code, log, report)
        say(f"{self.suite}: {name}: {tally} in {time.monotonic() - began:.0f} s")
        if tally.failed:
            say(told(log.read_text(errors="replace")))
            say(f"{self.suite}: {name}: the whole of it is in {log}")
        return tally

    def _counted(self, code: int, log: Path, report: Path | None) -> Tally:
        tally = from_junit(report) if report else from_cargo(log.read_text(errors="replace"))
        if code and not tally.failed:
            # It fell over outside of any test.
            return Tally(tally.passed, 1)
        return tally if tally.passed or tally.failed or report else Tally(1, 0)


def say(words: str) -> None:
    print(words, flush=True)
