"""Rows C: `Prefer: wait`."""

import base64
import time
from collections.abc import Callable
from concurrent.futures import Future

import httpx
import pytest

from harness.api import Api

Publish = Callable[[str], str]
PNG = b"\x89PNG\r\n\x1a\n"


def waiting(api: Api, version: str, input: dict, prefer: str = "wait") -> httpx.Response:
    return api.post("/v1/predictions", json={"version": version, "input": input}, headers={"prefer": prefer})


def test_C1_waiting_gives_the_output_in_one_answer(api: Api, published: Publish):
    sleepy = published("sleepy")
    api.run(sleepy, {"seconds": 0})
    answer = waiting(api, sleepy, {"seconds": 0.2})
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "wait")
    assert (answer.json()["status"], answer.json()["output"]) == ("succeeded", "slept 0.2 s")
    assert "predict;dur=" in answer.headers["server-timing"] and "warm" in answer.headers["x-feira-route"]


def test_C2_a_wait_that_ran_out_is_told_as_starting(api: Api, published: Publish):
    sleepy = published("sleepy")
    api.run(sleepy, {"seconds": 0})
    began = time.monotonic()
    answer = waiting(api, sleepy, {"seconds": 5}, "wait=1")
    assert 0.7 < time.monotonic() - began < 1.4
    assert (answer.headers["preference-applied"], answer.json()["status"], answer.json()["output"]) == ("wait=1", "starting", None)
    assert api.prediction(answer.json()["id"])["status"] == "processing"
    api.cancel(answer.json()["id"])


def test_C3_a_bare_wait_ends_within_a_minute(bare_wait: Future):
    told, seconds = bare_wait.result(90)
    assert 50 < seconds < 60
    assert (told["status"], told["output"]) == ("starting", None)


def test_C6_a_small_file_comes_with_the_answer(api: Api, published: Publish):
    picture = published("picture")
    api.run(picture, {"prompt": "warm"})
    output = waiting(api, picture, {"prompt": "sunset"}).json()["output"]
    kind, _, content = output.partition(";base64,")
    assert kind == "data:image/png" and base64.b64decode(content).startswith(PNG)


@pytest.mark.parametrize("prefer", [{}, {"prefer": "wait"}], ids=["async", "too-large-to-inline"])
def test_C6_any_other_file_is_an_address_that_needs_no_token(api: Api, published: Publish, prefer: dict):
    content = bytes(range(256)) * 4096
    file = api.upload("noise.bin", content)
    created = api.create(published("files"), {"file": file["urls"]["get"]}, headers=prefer)
    output = api.ended(created["id"])["output"]
    assert output.startswith(f"{api.url}/")
    assert httpx.get(output).content == content[::-1]


def test_C7_a_failure_while_waiting_is_told_with_its_reason(api: Api, published: Publish):
    answer = waiting(api, published("predict-raises"), {"message": "boom"})
    assert answer.is_success
    failed = answer.json()
    assert failed["status"] == "failed" and "boom" in failed["error"] and failed["output"] is None
