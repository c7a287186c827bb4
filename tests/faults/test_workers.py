"""kill -9 of model processes at random while they work: each prediction ends, as what it was or with the reason why not."""

import os
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.api import TERMINAL, Api
from harness.ledger import violations
from harness.processes import Process, alive, descendants
from harness.projects import project
from harness.server import Server
from harness.wait import until

PREDICTIONS = int(os.environ.get("FEIRA_FAULT_KILLED", "200"))
AT_A_TIME = 16
# Predictions that end between two kills.
BETWEEN_KILLS = (5, 20)
# What the callers of a process that was killed may be told.
REASONS = {"killed"}
ENDED_SECONDS_MAX = 120


class Killer:
    """Kills one process of a model after every few predictions, whichever it meets: the server inside the walls, or its worker."""

    def __init__(self, server: int, dice: random.Random):
        self.server, self.dice = server, dice
        self.killed = self.ended = self.next = 0
        self.held = threading.Lock()

    def note_an_end(self) -> None:
        with self.held:
            self.ended += 1
            if self.ended < self.next:
                return
            models = [process for process in descendants(self.server) if is_a_models(process)]
            if models:
                os.kill(self.dice.choice(models).pid, signal.SIGKILL)
                self.killed += 1
                self.next = self.ended + self.dice.randint(*BETWEEN_KILLS)


def is_a_models(process: Process) -> bool:
    try:
        return b"cog" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_killed_at_random_each_prediction_ends_with_its_reason_or_its_output(tmp_path: Path, capsys: pytest.CaptureFixture):
    seed = int(os.environ.get("FEIRA_FAULT_SEED", time.time_ns() % 1_000_000))
    dice = random.Random(seed)
    began = time.monotonic()
    with Server(tmp_path) as server:
        names = ("echo", "sleepy", "stream-words")
        versions = {name: f"feira/{name}:{server.push(project(name), f'feira/{name}')['id']}" for name in names}
        orders = [an_order(dice, versions) for _ in range(PREDICTIONS)]
        api = server.api()
        credit = api.balance()
        for name, input in (("echo", {"text": "x"}), ("sleepy", {"seconds": 0}), ("stream-words", {"text": "a"})):
            api.run(versions[name], input)
        killer = Killer(server.process.pid, dice)
        with ThreadPoolExecutor(AT_A_TIME) as callers:
            ended = list(callers.map(lambda order: one(api, order, killer), orders))
        # Whoever asks at this moment may meet the process that was killed last, and is told so as all were; then everybody is answered.
        ended.append(api.run(versions["echo"], {"text": "next"}))
        after = [api.run(versions["echo"], {"text": "after"})["status"] for _ in range(3)]
        spent = credit - api.balance()
        models = descendants(server.process.pid)
        stopped = server.stop()
    until(lambda: not any(map(alive, models)), 5, fail=False)
    orphans = sum(map(alive, models))
    found = violations(server.home)
    told = Counter(one.get("error_code") or one["status"] for one in ended)
    with capsys.disabled():
        seconds = time.monotonic() - began
        reasons = Counter(one["error"] for one in ended if one["status"] == "failed")
        print(f"\nkill-9 of models, n={PREDICTIONS}, killed={killer.killed}, ends={dict(told)}, reasons={dict(reasons)}, violations={len(found)}, seed={seed}, seconds={seconds:.0f}")
    assert killer.killed > PREDICTIONS / 40, "too little was killed"
    assert all(one["status"] in TERMINAL for one in ended)
    assert set(told) <= REASONS | {"succeeded"}, told
    assert all(one["error"] for one in ended if one["status"] == "failed")
    assert all(float(one["cost"]) == 0 for one in ended if one["status"] == "failed")
    assert told["succeeded"] > PREDICTIONS / 2 and spent > 0
    assert (after, found, orphans, stopped) == (["succeeded"] * 3, [], 0, 0)


def one(api: Api, order: tuple[str, dict], killer: Killer) -> dict:
    ended = api.run(*order, seconds=ENDED_SECONDS_MAX)
    killer.note_an_end()
    return ended


def an_order(dice: random.Random, versions: dict[str, str]) -> tuple[str, dict]:
    name, input = dice.choice(
        [
            ("echo", {"text": "again"}),
            ("sleepy", {"seconds": dice.uniform(0, 0.3)}),
            ("stream-words", {"text": "one two three four", "delay": dice.uniform(0, 0.05)}),
        ]
    )
    return versions[name], input
