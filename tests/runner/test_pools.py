"""Pools: instances that freeze and go on, come before anybody asks, wait at their deployment's cost, and tell those in line when."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from harness.api import Api
from harness.ledger import violations
from harness.projects import project
from harness.server import Server
from harness.wait import until

START_SECONDS_MAX = 120
# Instance time is charged every ten seconds.
CHARGE_SECONDS_MAX = 45


def instances(api: Api, version: str) -> dict[str, int]:
    """Of a version that stands on one runner, by state."""
    cards = [card for runner in api.get("/v1/runners").json()["runners"] for card in runner["versions"]]
    of_it = [card for card in cards if card["version"] == version.partition(":")[2]]
    return {state: sum(card[f"instances_{state}"] for card in of_it) for state in ("warm", "frozen", "starting")}


def publish(server: Server, name: str) -> str:
    return f"feira/{name}:{server.push(project(name), f'feira/{name}')['id']}"


def test_an_idle_instance_freezes_and_goes_on_when_it_is_asked(tmp_path: Path):
    with Server(tmp_path, "--freeze-seconds", "1") as server, server.api() as api:
        echo = publish(server, "echo")
        api.run(echo, {"text": "first"})

        def it_is_frozen() -> bool:
            return instances(api, echo)["frozen"] == 1

        until(it_is_frozen, START_SECONDS_MAX)
        answer = api.post("/v1/predictions", json={"version": echo, "input": {"text": "x"}}, headers={"prefer": "wait"})
        told = answer.json()
        assert told["output"] == "x" and told["timings"]["cold"]["rung"] == "frozen", told
        assert 'desc="frozen"' in answer.headers["server-timing"]
        assert 'feira_claim_seconds{rung="frozen",quantile="0.99"}' in api.get("/metrics").text
        until(it_is_frozen, START_SECONDS_MAX)
        assert "1 frozen" in server.feira("ps").stdout


def test_a_version_is_started_when_it_is_published(tmp_path: Path):
    with Server(tmp_path, prewarm=True) as server, server.api() as api:
        echo = publish(server, "echo")
        until(lambda: instances(api, echo)["warm"] == 1, START_SECONDS_MAX)
        assert api.run(echo, {"text": "x"})["timings"]["cold"] is None


def test_an_instance_that_a_deployment_keeps_waits_at_its_cost_and_not_at_others(tmp_path: Path):
    with Server(tmp_path, "--freeze-seconds", "1") as server, server.api() as api:
        echo = publish(server, "echo")
        before = api.balance()
        told = ["deployments", "create", "live", "--model", "feira/echo", "--min", "1", "--max", "2", "--buffer", "1", "--idle", "5", "--json"]
        made = json.loads(server.feira(*told).stdout)["current_release"]["configuration"]
        assert made == {"hardware": "cpu", "min_instances": 1, "max_instances": 2, "buffer_instances": 1, "idle_seconds": 5}
        until(lambda: api.balance() < before, START_SECONDS_MAX + CHARGE_SECONDS_MAX)
        assert instances(api, echo) == {"warm": 1, "frozen": 0, "starting": 0}, "it is idle, and stays awake"
        prices = {price["sku"]: price for price in api.get("/v1/prices").json()["hardware"]}
        assert Decimal(prices["cpu"]["active_per_second"]) == Decimal("0.000075")
        server.feira("deployments", "update", "feira/live", "--min", "0")
        until(lambda: instances(api, echo)["warm"] == 0, START_SECONDS_MAX)
    assert violations(server.home) == []


@pytest.mark.parametrize("accounts", [1, 2])
def test_those_in_line_are_told_their_place_and_how_long_it_takes(tmp_path: Path, accounts: int):
    with Server(tmp_path, "--instances-max", "1") as server, server.api() as api:
        api.post("/v1/models", json={"owner": "feira", "name": "sleepy", "visibility": "public", "hardware": "cpu"})
        sleepy = publish(server, "sleepy")
        for _ in range(2):
            api.run(sleepy, {"seconds": 0.5})
        callers = [api] if accounts == 1 else [api, server.api(server.account("ada", "5"))]
        runs = api.create(sleepy, {"seconds": 2})
        api.started(runs["id"])
        ids = [(caller, caller.create(sleepy, {"seconds": 0.5})["id"]) for caller in callers for _ in range(3)]
        places = [caller.prediction(id) for caller, id in ids]
        positions = [place["queue_position"] for place in places]
        assert positions == ([0, 1, 2] if accounts == 1 else [0, 2, 4, 1, 3, 5]), positions
        estimates = [place["queue_seconds"] for place in places]
        assert sorted(estimates, key=dict(zip(estimates, positions)).get) == sorted(estimates) and estimates[0] > 0, estimates
        ended = [caller.ended(id) for caller, id in ids]
        in_turn = sorted(ended, key=lambda prediction: prediction["started_at"])
        assert [positions[ended.index(prediction)] for prediction in in_turn] == sorted(positions)
        for caller in callers[1:]:
            caller.close()
