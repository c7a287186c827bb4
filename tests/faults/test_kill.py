"""kill -9 in the middle of the work: nothing that was accepted is lost, and nobody pays twice."""

import os
import random
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from harness.api import TERMINAL
from harness.ledger import violations
from harness.projects import project
from harness.server import Server
from harness.wait import until

PREDICTIONS = 300
AT_A_TIME = 16
CROWD = 200
KILL_AFTER_ENDED = 100
ROUNDS = int(os.environ.get("FEIRA_FAULT_ROUNDS", "1"))
# The lease of a dead server, and what is left to run after it.
SETTLED_SECONDS_MAX = 240


class Order:
    """One prediction that a caller wants: its key makes a second try after a crash the same one."""

    def __init__(self, seed: int, number: int, versions: dict[str, str]):
        dice = random.Random(f"{seed}/{number}")
        name, input = dice.choice(
            [
                ("echo", {"text": str(number)}),
                ("stream-words", {"text": "one two three four", "delay": dice.uniform(0, 0.05)}),
                ("predict-raises", {"message": str(number)}),
                ("sleepy", {"seconds": dice.uniform(0, 0.3)}),
                ("sleepy", {"seconds": 3600}),
            ]
        )
        self.cancels = input.get("seconds") == 3600
        # The others are told at once that they are accepted, and ask until they have ended.
        self.waits = not self.cancels and dice.random() < 0.5
        self.body = {"version": versions[name], "input": input}
        self.key = f"{seed}-{number}"
        self.id: str | None = None


@pytest.mark.parametrize("round", range(ROUNDS))
def test_killed_in_the_middle_every_prediction_ends_and_none_is_billed_twice(tmp_path: Path, round: int, capsys: pytest.CaptureFixture):
    seed = int(os.environ.get("FEIRA_FAULT_SEED", time.time_ns() % 1_000_000)) + round
    began = time.monotonic()
    with Server(tmp_path) as server:
        names = ("echo", "stream-words", "predict-raises", "sleepy")
        versions = {name: f"feira/{name}:{server.push(project(name), f'feira/{name}')['id']}" for name in names}
        orders = [Order(seed, number, versions) for number in range(PREDICTIONS)]

        ended_before, orphans = work_until_killed(server, orders)
        accepted = [order for order in orders if order.id]
        server.start()
        work(server, orders)
        left = settle(server, orders)
        stopped = server.stop()
    found = violations(server.home)
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\nkill-9, n={PREDICTIONS}, faults injected=1, violations={len(found) + len(left) + orphans}, seed={seed}, seconds={seconds:.0f}")
    assert KILL_AFTER_ENDED <= ended_before < PREDICTIONS and len(accepted) > ended_before, "the fault came too early or too late"
    assert (left, found, orphans, stopped) == ([], [], 0, 0)


def work_until_killed(server: Server, orders: list[Order]) -> tuple[int, int]:
    """Sends orders until enough have ended, and ends the server there. Says how many had ended, and what was orphaned."""
    ended = orphans = 0
    with server.api() as api, ThreadPoolExecutor(AT_A_TIME) as callers:
        for finished in callers.map(lambda order: one(api, order), orders):
            ended += finished
            if ended == KILL_AFTER_ENDED:
                orphans = server.kill()
    return ended, orphans


def work(server: Server, orders: list[Order]) -> None:
    with server.api() as api, ThreadPoolExecutor(AT_A_TIME) as callers:
        list(callers.map(lambda order: one(api, order), orders))


def one(api: httpx.Client, order: Order) -> bool:
    """Places one order and follows it to its end. False when the server went away under it."""
    try:
        prefer = {"prefer": "wait"} if order.waits else {}
        answer = api.post("/v1/predictions", json=order.body, headers={"idempotency-key": order.key} | prefer)
    except httpx.TransportError:
        return False
    assert answer.status_code == 201, answer.text
    id = answer.json()["id"]
    assert order.id in (None, id), "a repeated key made a second prediction"
    order.id = id
    try:
        if order.cancels:
            api.cancel(id)
        return api.ended(id, SETTLED_SECONDS_MAX) is not None
    except httpx.TransportError:
        return False


def settle(server: Server, orders: list[Order]) -> list[str]:
    """What has not ended, or ended as it should not have, once all had time to."""
    api = server.api()
    wrong = []
    for order in orders:
        prediction = api.ended(order.id, SETTLED_SECONDS_MAX)
        if order.cancels and prediction["status"] == "succeeded":
            wrong.append(f"{order.id} slept an hour")
    return wrong


def test_D14_killed_over_two_hundred_that_wait_and_run_each_ends_once_and_is_billed_once(tmp_path: Path, capsys: pytest.CaptureFixture):
    began = time.monotonic()
    with Server(tmp_path) as server:
        sleepy = f"feira/sleepy:{server.push(project('sleepy'), 'feira/sleepy')['id']}"
        api = server.api()
        credit = api.balance()
        first = api.run(sleepy, {"seconds": 0})["id"]
        with ThreadPoolExecutor(AT_A_TIME) as callers:
            ids = [first, *callers.map(lambda number: api.create(sleepy, {"seconds": 0.1 + number % 7 / 20})["id"], range(CROWD))]

        def a_tenth_has_ended() -> bool:
            return api.prediction(ids[CROWD // 10])["status"] in TERMINAL

        until(a_tenth_has_ended, SETTLED_SECONDS_MAX)
        orphans = server.kill()
        caught = in_the_middle(server)
        server.start()
        ended = [server.api().ended(id, SETTLED_SECONDS_MAX) for id in ids]
        spent = credit - server.api().balance()
        stopped = server.stop()
    found = violations(server.home)
    verified = server.feira("ledger", "verify", "--home", server.home, check=False)
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\nkill-9 over a crowd, n={CROWD}, caught={caught}, violations={len(found)}, seconds={seconds:.0f}")
    waiting, running, over = caught
    assert waiting > CROWD / 2 and running > 0 and over > 0, "the fault came too early or too late"
    # What ran when the server died may be run again or be failed, for some of it may have been seen; what waited runs.
    assert [one["status"] for one in ended].count("succeeded") >= CROWD - running
    assert spent == sum(Decimal(one["cost"]) for one in ended)
    assert (found, orphans, stopped, verified.returncode) == ([], 0, 0, 0), verified.stderr


def in_the_middle(server: Server) -> tuple[int, int, int]:
    """How many predictions of a server that was killed were waiting, running and over."""
    with closing(sqlite3.connect(server.home / "feira.db")) as database:
        rows = database.execute("select started_at is not null, completed_at is not null from prediction").fetchall()
    return tuple(rows.count(state) for state in ((0, 0), (1, 0), (1, 1)))


def test_sigterm_lets_what_runs_end_and_takes_no_new_work(tmp_path: Path):
    with Server(tmp_path) as server:
        sleepy = f"feira/sleepy:{server.push(project('sleepy'), 'feira/sleepy')['id']}"
        api = server.api()
        api.run(sleepy, {"seconds": 0})
        id = api.create(sleepy, {"seconds": 2})["id"]
        api.running(id, "asleep")
        assert server.stop() == 0
        server.start()
        assert server.api().prediction(id)["status"] == "succeeded"
        assert server.stop() == 0
    assert violations(server.home) == []


def test_a_second_server_on_the_same_home_is_refused(tmp_path: Path):
    with Server(tmp_path) as server:
        done = server.feira("up", "--home", server.home, "--listen", "127.0.0.1:0", check=False)
        assert done.returncode == 1 and "another feira" in done.stderr


def test_a_public_address_is_refused_without_the_address_that_callers_use(tmp_path: Path):
    with Server(tmp_path) as server:
        done = server.feira("up", "--home", tmp_path / "other", "--listen", "0.0.0.0:0", check=False)
        assert done.returncode == 2 and "--public-url" in done.stderr
