"""Instances: warm ones, cancelled ones, files in and out, and what the operator sees of them."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from harness.api import Api
from harness.processes import alive, descendants
from harness.projects import copy
from harness.server import Server
from harness.wait import until

Publish = Callable[[str], str]
# What a cancel may take until the model's process has stopped its work.
CANCEL_SECONDS_MAX = 2
# Half a second on a machine that does nothing else.
ZYGOTE_SECONDS_MAX = 60


def test_a_second_run_finds_the_instance_warm(api: Api, published: Publish):
    echo = published("echo")
    api.run(echo, {"text": "first"})
    warm = api.run(echo, {"text": "second"})
    assert warm["timings"]["cold"] is None
    assert warm["metrics"]["total_time"] < 1


def test_a_version_of_an_environment_in_use_starts_from_a_zygote(server: Server, api: Api, published: Publish, tmp_path: Path):
    api.run(published("echo"), {"text": "whose environment is another's too"})

    def a_zygote_is_ready() -> bool:
        return "\nfeira_zygotes 0\n" not in api.get("/metrics").text

    until(a_zygote_is_ready, ZYGOTE_SECONDS_MAX)
    other = server.push(copy("echo", tmp_path, {"salt": tmp_path.name}), "feira/other-echo")
    answer = api.post("/v1/predictions", json={"version": other["id"], "input": {"text": "x"}}, headers={"prefer": "wait"})
    assert answer.json()["output"] == "x" and answer.json()["timings"]["cold"]["rung"] == "zygote", answer.text
    assert 'desc="zygote"' in answer.headers["server-timing"]
    assert 'feira_cold_start_seconds_count{rung="zygote",phase="total"} ' in api.get("/metrics").text


def test_a_cancel_that_the_model_hears_keeps_its_instance(api: Api, published: Publish):
    sleepy = published("sleepy")
    id = api.create(sleepy, {"seconds": 60})["id"]
    api.running(id, "asleep")
    began = time.monotonic()
    canceled = api.cancel(id)
    assert canceled["status"] == "canceled" and time.monotonic() - began < CANCEL_SECONDS_MAX
    assert canceled["metrics"]["predict_time"] < 60
    assert api.run(sleepy, {"seconds": 0})["status"] == "succeeded"


def test_a_cancel_stops_a_process_that_does_not_hear_it(server: Server, api: Api, published: Publish):
    sleepy = published("sleepy")
    api.run(sleepy, {"seconds": 0})
    id = api.create(sleepy, {"seconds": 3600, "deaf": True})["id"]
    api.running(id, "asleep")
    before = descendants(server.process.pid)
    began = time.monotonic()
    assert api.cancel(id)["status"] == "canceled"
    assert time.monotonic() - began < CANCEL_SECONDS_MAX + 1

    def a_process_is_gone() -> bool:
        return not all(map(alive, before))

    until(a_process_is_gone, CANCEL_SECONDS_MAX + 1)
    assert api.run(sleepy, {"seconds": 0})["output"] == "slept 0 s"


def test_calls_beyond_the_slots_wait_in_order_and_know_their_place(api: Api, published: Publish):
    sleepy = published("sleepy")
    api.run(sleepy, {"seconds": 0})
    ids = [api.create(sleepy, {"seconds": 0.3})["id"] for _ in range(6)]
    places = [api.prediction(id).get("queue_position") for id in ids]
    assert any(place is not None for place in places)
    ended = [api.ended(id) for id in ids]
    assert {prediction["status"] for prediction in ended} == {"succeeded"}
    starts = [prediction["started_at"] for prediction in ended]
    assert starts == sorted(starts)


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_a_file_goes_in_by_upload_and_comes_out_with_its_type(api: Api, published: Publish, size: int):
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    file = api.upload("data.txt", content, "text/plain")
    output = api.run(published("files"), {"file": file["urls"]["get"]})["output"]
    answer = httpx.get(output)
    assert answer.content == content[::-1] and answer.headers["content-type"].startswith("text/plain")


def test_a_model_sees_neither_the_servers_secrets_nor_the_network(server: Server, api: Api, published: Publish):
    look = {"path": str(server.home / "secret"), "port": int(server.url.rpartition(":")[2])}
    seen = json.loads(api.run(published("nosy"), look)["output"])
    assert seen["file"] != "open" and seen["network"] != "open", seen
    assert seen["uid"] != 0 and seen["processes"] < 20, seen
    assert not any("FEIRA" in name or "TOKEN" in name for name in seen["environment"]), seen


def test_the_operator_sees_what_is_warm(server: Server, api: Api, published: Publish):
    echo = published("echo")
    api.run(echo, {"text": "x"})
    seen = json.loads(server.feira("ps", "--json").stdout)
    runner = seen["runners"][0]
    assert runner["accepting"] and runner["isolation"]
    warm = {card["version"]: card["instances_warm"] for card in runner["versions"]}
    assert warm[echo.partition(":")[2]] >= 1
