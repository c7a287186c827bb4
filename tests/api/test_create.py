"""Creating predictions: every form of reference, the input, and waiting for the answer."""

import base64
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness.api import Api, problem

Publish = Callable[[str], str]


@pytest.fixture(scope="module")
def echo(published: Publish) -> str:
    return published("echo")


def split(reference: str) -> tuple[str, str]:
    model, _, version = reference.partition(":")
    return model, version


def test_a_fresh_prediction_has_replicates_shape_and_says_where_it_is(api: Api, echo: str):
    model, version = split(echo)
    answer = api.post("/v1/predictions", json={"version": version, "input": {"text": "hi"}})
    assert answer.status_code == 201
    fresh = answer.json()
    assert re.fullmatch("[a-z0-9]{26}", fresh["id"])
    expected = {"model": model, "version": version, "status": "starting", "input": {"text": "hi"}, "output": None, "error": None}
    expected |= {"logs": "", "source": "api", "data_removed": False}
    assert {key: fresh[key] for key in expected} == expected
    assert answer.headers["location"] == fresh["urls"]["get"] == f"{api.url}/v1/predictions/{fresh['id']}"
    assert all(url.startswith(api.url) for url in fresh["urls"].values())
    assert api.ended(fresh["id"])["output"] == "hi"


def test_every_form_of_reference_finds_the_same_version(api: Api, echo: str):
    model, version = split(echo)
    created = [api.create(reference, {"text": "x"}) for reference in (version, echo, model)]
    by_model = api.post(f"/v1/models/{model}/predictions", json={"input": {"text": "x"}})
    assert by_model.status_code == 201
    for prediction in [*created, by_model.json()]:
        assert (prediction["model"], prediction["version"]) == (model, version)
        assert api.ended(prediction["id"])["status"] == "succeeded"


def test_an_unknown_version_is_refused_in_replicates_words(api: Api, echo: str):
    for version in ("0" * 64, "feira/echo:" + "0" * 64, "feira/nothing", "nobody/echo", "not a version"):
        told = problem(api.post("/v1/predictions", json={"version": version, "input": {"text": "x"}}), 422)
        assert told["title"] == "Invalid version or not permitted"
        assert told["detail"].startswith("The specified version does not exist")
    problem(api.post("/v1/models/feira/nothing/predictions", json={"input": {}}), 404)


def test_a_missing_input_names_its_field(api: Api, echo: str):
    told = problem(api.post("/v1/predictions", json={"version": echo, "input": {}}), 422)
    assert (told["title"], told["detail"]) == ("Input validation failed", "- input: text is required\n")
    assert told["invalid_fields"] == [{"type": "required", "field": "input", "description": "text is required"}]


@pytest.mark.parametrize(
    ("body", "type", "field", "description"),
    [
        ({"input": {}}, "required", "", "version is required"),
        ({"version": "feira/echo"}, "required", "", "input is required"),
        ({"version": 7, "input": {}}, "invalid_type", "version", "version must be a string"),
        ({"version": "feira/echo", "input": {}, "model": "x"}, "additional_property_not_allowed", "", "Additional property model is not allowed"),
    ],
)
def test_a_wrong_envelope_names_what_is_wrong(api: Api, echo: str, body: dict, type: str, field: str, description: str):
    told = problem(api.post("/v1/predictions", json=body), 422)
    assert {"type": type, "field": field, "description": description} in told["invalid_fields"]


@pytest.mark.parametrize(
    ("input", "type", "field"),
    [
        ({"seconds": 10_000}, "number_lte", "input.seconds"),
        ({"seconds": -1}, "number_gte", "input.seconds"),
        ({"seconds": "long"}, "invalid_type", "input.seconds"),
        ({"deaf": "yes"}, "invalid_type", "input.deaf"),
    ],
)
def test_a_value_outside_of_its_bounds_names_its_field(api: Api, published: Publish, input: dict, type: str, field: str):
    told = problem(api.post("/v1/predictions", json={"version": published("sleepy"), "input": input}), 422)
    assert [(wrong["type"], wrong["field"]) for wrong in told["invalid_fields"]] == [(type, field)]
    assert told["invalid_fields"][0]["description"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1, 2]", b'"text"', b"\xff\xfe", b'{"version": "feira/echo", "input": {"text": "a"}}}'])
def test_malformed_json_is_a_problem_and_no_prediction(api: Api, echo: str, body: bytes):
    before = api.get("/v1/predictions").json()["results"]
    answer = api.post("/v1/predictions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code)
    assert [one["id"] for one in api.get("/v1/predictions").json()["results"]] == [one["id"] for one in before]


def test_inputs_that_the_model_does_not_know_are_dropped_and_absent_ones_get_their_defaults(api: Api, published: Publish):
    assert api.run(published("echo"), {"text": "x", "num_outputs": 4})["output"] == "x"
    assert api.run(published("stream-words"), {})["output"] == ["the", " quick", " brown", " fox"]


def test_a_file_may_come_as_a_data_uri_and_leaves_as_an_address_that_needs_no_token(api: Api, published: Publish):
    content = bytes(range(256)) * 40
    uri = "data:text/plain;base64," + base64.b64encode(content).decode()
    output = api.run(published("files"), {"file": uri})["output"]
    assert httpx.get(output).content == content[::-1]


def test_waiting_gives_the_output_in_one_answer(api: Api, echo: str):
    api.run(echo, {"text": "warm"})
    answer = api.post("/v1/predictions", json={"version": echo, "input": {"text": "now"}}, headers={"prefer": "wait"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "wait")
    assert (answer.json()["status"], answer.json()["output"]) == ("succeeded", "now")
    assert "predict;dur=" in answer.headers["server-timing"] and "warm" in answer.headers["x-feira-route"]


def test_a_wait_that_ran_out_is_told_as_starting(api: Api, published: Publish):
    sleepy = published("sleepy")
    api.run(sleepy, {"seconds": 0})
    began = time.monotonic()
    answer = api.post("/v1/predictions", json={"version": sleepy, "input": {"seconds": 5}}, headers={"prefer": "wait=1"})
    assert 0.7 < time.monotonic() - began < 1.6
    assert (answer.headers["preference-applied"], answer.json()["status"], answer.json()["output"]) == ("wait=1", "starting", None)
    api.cancel(answer.json()["id"])


def test_a_failure_while_waiting_is_told_with_its_reason(api: Api, published: Publish):
    failed = api.run(published("predict-raises"), {"message": "boom"})
    assert failed["status"] == "failed" and "boom" in failed["error"]


def test_the_same_idempotency_key_runs_once(api: Api, echo: str):
    order = {"version": echo, "input": {"text": "once"}}
    key = {"idempotency-key": f"once-{time.time_ns()}"}
    first, second = (api.post("/v1/predictions", json=order, headers=key).json() for _ in range(2))
    assert first["id"] == second["id"]
    problem(api.post("/v1/predictions", json=order | {"input": {"text": "other"}}, headers=key), 409)
    api.ended(first["id"])


def test_a_hundred_creates_at_once_are_a_hundred_predictions(api: Api, echo: str):
    with ThreadPoolExecutor(32) as callers:
        created = list(callers.map(lambda n: api.create(echo, {"text": str(n)}), range(100)))
    assert len({prediction["id"] for prediction in created}) == 100
    assert {api.ended(prediction["id"])["output"] for prediction in created} == {str(n) for n in range(100)}
