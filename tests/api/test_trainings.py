"""Trainings: what is refused, how they run, and the version that comes of one."""

from collections.abc import Callable

import pytest

from harness.api import Api, problem
from harness.server import Server

Publish = Callable[[str], str]
NO_DESTINATION = "The specified training destination does not exist"


def path(reference: str) -> str:
    model, _, version = reference.partition(":")
    return f"/v1/models/{model}/versions/{version}/trainings"


@pytest.fixture(scope="module")
def destination(api: Api) -> str:
    answer = api.post("/v1/models", json={"owner": "feira", "name": "trained", "visibility": "public", "hardware": "cpu"})
    assert answer.status_code == 201, answer.text
    return "feira/trained"


def test_a_version_without_a_trainer_says_so(api: Api, published: Publish, destination: str):
    told = problem(api.post(path(published("echo")), json={"destination": destination, "input": {}}), 422)
    assert told["title"] == "Version cannot be trained" and "train function" in told["detail"]


def test_a_destination_that_is_no_model_of_the_caller_does_not_exist(server: Server, api: Api, published: Publish, destination: str):
    echo = published("echo")
    stranger = server.api(server.account("trainer", "1"))
    for caller, named in [(api, "feira/nothing"), (api, "no model"), (api, "nobody/nothing"), (stranger, destination)]:
        told = problem(caller.post(path(echo), json={"destination": named, "input": {}}), 404)
        assert (told["detail"], told["status"]) == (NO_DESTINATION, 404)
    assert stranger.balance() == 1


@pytest.mark.parametrize(
    ("body", "type", "description"),
    [
        ({"input": {}}, "required", "destination is required"),
        ({"destination": "feira/trained"}, "required", "input is required"),
        ({"destination": 7, "input": {}}, "invalid_type", "destination must be a string"),
        ({"destination": "feira/trained", "input": {}, "version": "x"}, "additional_property_not_allowed", "Additional property version is not allowed"),
    ],
)
def test_a_wrong_request_names_what_is_wrong(api: Api, published: Publish, destination: str, body: dict, type: str, description: str):
    told = problem(api.post(path(published("echo")), json=body), 422)
    assert [(wrong["type"], wrong["description"]) for wrong in told["invalid_fields"]] == [(type, description)]


def test_a_version_that_does_not_exist_cannot_be_trained(api: Api, published: Publish, destination: str):
    published("echo")
    for reference in ("feira/echo:" + "0" * 64, "feira/echo:latest", "feira/nothing:" + "0" * 64):
        problem(api.post(path(reference), json={"destination": destination, "input": {}}), 404)


def test_training_needs_leave_to_spend_and_to_publish(server: Server, api: Api, published: Publish, destination: str):
    made = api.post("/v1/account/tokens", json={"name": "runner", "scopes": ["predictions:write"]}).json()
    told = problem(server.api(made["token"]).post(path(published("echo")), json={"destination": destination, "input": {}}), 403)
    assert "models:write" in told["detail"]


def test_a_prediction_is_no_training(api: Api, published: Publish):
    id = api.run(published("echo"), {"text": "x"})["id"]
    unknown = problem(api.get("/v1/trainings/nope"), 404)
    assert problem(api.get(f"/v1/trainings/{id}"), 404) == unknown
    assert problem(api.post(f"/v1/trainings/{id}/cancel"), 404) == unknown
    assert id not in [one["id"] for one in api.get("/v1/trainings").json()["results"]]
    problem(api.get("/v1/trainings", params={"cursor": "nonsense"}), 400)
