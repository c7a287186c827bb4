"""Rows B: creating predictions, by every form of reference, and what is made of their input."""

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.api import Api, problem
from harness.server import Server

Publish = Callable[[str], str]


@pytest.fixture(scope="module")
def echo(published: Publish) -> str:
    return published("echo")


@pytest.fixture(scope="module")
def mirror(published: Publish) -> str:
    return published("mirror")


def split(reference: str) -> tuple[str, str]:
    model, _, version = reference.partition(":")
    return model, version


def runs_as(api: Api, prediction: dict, reference: str) -> bool:
    ended = api.ended(prediction["id"])
    return (ended["model"], ended["version"], ended["status"]) == (*split(reference), "succeeded")


def test_B1_a_prediction_is_created_by_its_version_and_says_where_it_is(api: Api, echo: str):
    _, version = split(echo)
    answer = api.post("/v1/predictions", json={"version": version, "input": {"text": "hi"}})
    assert answer.status_code == 201
    fresh = answer.json()
    assert fresh["status"] == "starting"
    assert answer.headers["location"] == fresh["urls"]["get"] == f"{api.url}/v1/predictions/{fresh['id']}"
    assert fresh["urls"]["cancel"] == f"{fresh['urls']['get']}/cancel"
    assert all(url.startswith(f"{api.url}/") for url in fresh["urls"].values()) and {"get", "cancel", "web"} <= set(fresh["urls"])
    assert runs_as(api, fresh, echo)


def test_B2_a_full_reference_names_the_version(api: Api, echo: str):
    created = api.create(echo, {"text": "x"})
    assert (created["model"], created["version"]) == split(echo) and runs_as(api, created, echo)


def test_B3_a_model_alone_means_its_latest_version(api: Api, echo: str):
    model, version = split(echo)
    created = api.create(model, {"text": "x"})
    assert created["version"] == version and runs_as(api, created, echo)


def test_B4_a_prediction_is_created_below_its_model(api: Api, echo: str):
    model, version = split(echo)
    answer = api.post(f"/v1/models/{model}/predictions", json={"input": {"text": "x"}})
    assert answer.status_code == 201
    assert answer.json()["version"] == version and runs_as(api, answer.json(), echo)


def test_B5_a_deployment_runs_the_version_of_its_release(api: Api, echo: str):
    model, version = split(echo)
    settings = {"name": "echo-for-b5", "model": model, "version": version, "hardware": "cpu", "min_instances": 0, "max_instances": 1}
    assert api.post("/v1/deployments", json=settings).status_code == 200
    answer = api.post("/v1/deployments/feira/echo-for-b5/predictions", json={"input": {"text": "deployed"}})
    assert answer.status_code == 201
    created = answer.json()
    assert (created["deployment"], created["model"], created["version"]) == ("feira/echo-for-b5", model, version)
    assert runs_as(api, created, echo)
    assert api.prediction(created["id"])["output"] == "deployed"


def test_B6_a_missing_input_is_named(api: Api, mirror: str):
    told = problem(api.post("/v1/predictions", json={"version": mirror, "input": {}}), 422)
    assert (told["title"], told["detail"]) == ("Input validation failed", "- input: prompt is required\n")
    assert told["invalid_fields"] == [{"type": "required", "field": "input", "description": "prompt is required"}]


@pytest.mark.parametrize(
    ("body", "type", "field", "description"),
    [
        ({"input": {}}, "required", "", "version is required"),
        ({"version": "feira/echo"}, "required", "", "input is required"),
        ({"version": 7, "input": {}}, "invalid_type", "version", "version must be a string"),
        ({"version": "feira/echo", "input": {}, "model": "x"}, "additional_property_not_allowed", "", "Additional property model is not allowed"),
    ],
)
def test_B7_a_wrong_envelope_names_what_is_wrong(api: Api, echo: str, body: dict, type: str, field: str, description: str):
    told = problem(api.post("/v1/predictions", json=body), 422)
    assert {"type": type, "field": field, "description": description} in told["invalid_fields"]


@pytest.mark.parametrize(
    ("input", "type", "field", "description"),
    [
        ({"steps": 9}, "number_lte", "input.steps", "Must be less than or equal to 8"),
        ({"steps": 0}, "number_gte", "input.steps", "Must be greater than or equal to 1"),
        ({"tone": "loud"}, "enum", "input.tone", 'tone must be one of the following: "plain", "kind", "stern"'),
        ({"prompt": "x" * 101}, "string_lte", "input.prompt", None),
        ({"steps": "many"}, "invalid_type", "input.steps", None),
        ({"prompt": 7}, "invalid_type", "input.prompt", None),
    ],
)
def test_B9_a_value_outside_of_its_bounds_or_its_list_is_named(api: Api, mirror: str, input: dict, type: str, field: str, description: str | None):
    told = problem(api.post("/v1/predictions", json={"version": mirror, "input": {"prompt": "x"} | input}), 422)
    (wrong,) = told["invalid_fields"]
    assert (wrong["type"], wrong["field"]) == (type, field) and wrong["description"]
    assert description in (None, wrong["description"])
    assert told["detail"] == f"- {field}: {wrong['description']}\n"


def test_B10_an_input_that_the_model_does_not_know_never_reaches_it(api: Api, mirror: str):
    ended = api.run(mirror, {"prompt": "x", "steps": 2, "tone": "stern", "foo": 1})
    assert json.loads(ended["output"]) == {"prompt": "x", "steps": 2, "tone": "stern"}


def test_B11_an_unknown_version_is_refused_in_replicates_words(api: Api, echo: str):
    for version in ("0" * 64, "feira/echo:" + "0" * 64, "feira/nothing", "nobody/echo", "not a version"):
        told = problem(api.post("/v1/predictions", json={"version": version, "input": {"text": "x"}}), 422)
        assert told["title"] == "Invalid version or not permitted"
        assert told["detail"] == "The specified version does not exist (or perhaps you don't have permission to use it?)"
    problem(api.post("/v1/models/feira/nothing/predictions", json={"input": {}}), 404)


def test_B12_without_credit_nothing_is_enqueued(server: Server, echo: str):
    caller = server.api(server.account("b-twelve"))
    told = problem(caller.post("/v1/predictions", json={"version": echo, "input": {"text": "x"}}), 402)
    assert told["title"] == "Insufficient credit" and "credit" in told["detail"]
    assert caller.get("/v1/predictions").json()["results"] == []
    assert caller.balance() == 0


def test_B13_an_absent_input_gets_its_default(api: Api, mirror: str):
    ended = api.run(mirror, {"prompt": "x"})
    assert json.loads(ended["output"]) == {"prompt": "x", "steps": 4, "tone": "kind"}
    assert ended["input"] == {"prompt": "x"}


def test_B14_a_file_may_come_as_a_data_uri(api: Api, published: Publish):
    for content in (b"zz", bytes(range(256)) * 40):
        uri = "data:text/plain;base64," + base64.b64encode(content).decode()
        assert api.run(published("digest"), {"file": uri})["output"] == f"{len(content)} {hashlib.sha256(content).hexdigest()}"


def test_B17_a_fresh_prediction_has_replicates_shape(api: Api, echo: str):
    fresh = api.create(echo, {"text": "hi"})
    assert re.fullmatch("[a-z0-9]{26}", fresh["id"])
    expected = {"input": {"text": "hi"}, "output": None, "error": None, "logs": "", "source": "api", "data_removed": False}
    assert {key: fresh[key] for key in expected} == expected
    api.ended(fresh["id"])


def test_B19_the_same_idempotency_key_runs_once(api: Api, echo: str):
    order = {"version": echo, "input": {"text": "once"}}
    key = {"idempotency-key": f"once-{time.time_ns()}"}
    first, second = (api.post("/v1/predictions", json=order, headers=key).json() for _ in range(2))
    assert first["id"] == second["id"]
    problem(api.post("/v1/predictions", json=order | {"input": {"text": "other"}}, headers=key), 409)
    api.ended(first["id"])
    assert [one["id"] for one in api.get("/v1/predictions").json()["results"]].count(first["id"]) == 1


def test_B20_a_hundred_creates_at_once_are_a_hundred_predictions(api: Api, echo: str):
    with ThreadPoolExecutor(32) as callers:
        created = list(callers.map(lambda n: api.create(echo, {"text": str(n)}), range(100)))
    assert len({prediction["id"] for prediction in created}) == 100
    assert {api.ended(prediction["id"])["output"] for prediction in created} == {str(n) for n in range(100)}
