"""Models that fail in every way they can: the caller is told why, and pays nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from harness.api import Api

Publish = Callable[[str], str]
# More than this of a hundred megabytes would fill databases and browsers.
LOG_BYTES_KEPT_MAX = 4 * 1024 * 1024


@contextmanager
def nothing_charged(api: Api) -> Iterator[None]:
    before = api.balance()
    yield
    assert api.balance() == before


def failed(api: Api, version: str, input: dict) -> dict:
    with nothing_charged(api):
        prediction = api.run(version, input)
    assert (prediction["status"], prediction["output"], prediction["cost"]) == ("failed", None, "0"), prediction
    return prediction


def test_a_setup_that_raises_is_told_with_its_reason(api: Api, published: Publish):
    prediction = failed(api, published("setup-raises"), {"text": "x"})
    assert prediction["error_code"] == "setup_failed"
    told = prediction["error"] + prediction["logs"]
    # What it printed before is often lost inside of Cog 0.23.1 itself; the reason always arrives.
    assert "weights/model.bin is missing" in told


def test_a_predict_that_raises_is_told_with_its_message_and_logs(api: Api, published: Publish):
    prediction = failed(api, published("predict-raises"), {"message": "boom: 7"})
    assert "boom: 7" in prediction["error"] and "about to fail" in prediction["logs"]


def test_a_process_that_is_killed_is_told_and_the_next_call_is_answered(api: Api, published: Publish):
    dies = published("kills-itself")
    prediction = failed(api, dies, {"die": True})
    assert prediction["error_code"] in ("killed", "oom") and prediction["error"]
    assert api.run(dies, {"die": False})["output"] == "alive"


def test_a_hundred_megabytes_of_logs_are_cut_and_the_run_succeeds(api: Api, published: Publish):
    prediction = api.run(published("chatty"), {"kibibytes": 102_400})
    assert (prediction["status"], prediction["output"]) == ("succeeded", 102_400)
    assert 0 < len(prediction["logs"]) <= LOG_BYTES_KEPT_MAX
    assert "cut" in prediction["logs"] or "…" in prediction["logs"] or "left out" in prediction["logs"]


@pytest.mark.parametrize("input", [{"file": "http://127.0.0.1:9/x"}, {"file": "http://169.254.169.254/latest"}, {"file": "file:///etc/passwd"}])
def test_an_input_address_inside_the_house_is_never_fetched(api: Api, published: Publish, input: dict):
    with nothing_charged(api):
        answer = api.post("/v1/predictions", json={"version": published("files"), "input": input}, headers={"prefer": "wait"})
        if answer.status_code == 201:
            prediction = api.ended(answer.json()["id"])
            assert prediction["status"] == "failed" and prediction["error"] and "root:" not in str(prediction)
        else:
            assert answer.status_code == 422, answer.text
