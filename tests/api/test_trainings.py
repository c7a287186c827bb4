"""Trainings: what is refused, how they run, and the version that comes of one."""

import json
from collections.abc import Callable
from decimal import Decimal

import httpx
import pytest

from harness import training
from harness.api import Api, problem
from harness.server import Server
from harness.training import path, train

Publish = Callable[[str], str]
NO_DESTINATION = "The specified training destination does not exist"


@pytest.fixture(scope="module")
def trainable(api: Api) -> str:
    return training.publish(api)


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


def test_a_training_has_replicates_shape_and_is_known_on_both_routes(api: Api, trainable: str, destination: str):
    fresh = train(api, trainable, destination, {"text": "x", "seconds": 600})
    model, _, version = trainable.partition(":")
    expected = {"model": model, "version": version, "status": "starting", "output": None, "error": None, "logs": "", "source": "api"}
    expected |= {"input": {"text": "x", "seconds": 600}, "destination": destination}
    assert {key: fresh[key] for key in expected} == expected
    assert fresh["urls"]["get"] == f"{api.url}/v1/trainings/{fresh['id']}"
    assert fresh["urls"]["cancel"] == f"{fresh['urls']['get']}/cancel"
    for route in ("trainings", "predictions"):
        assert api.get(f"/v1/{route}/{fresh['id']}").json()["id"] == fresh["id"]
    assert api.get("/v1/trainings").json()["results"][0]["id"] == fresh["id"]
    assert fresh["id"] not in [one["id"] for one in api.get("/v1/predictions").json()["results"]]
    canceled = api.post(f"/v1/trainings/{fresh['id']}/cancel")
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    other = train(api, trainable, destination, {"text": "x", "seconds": 600})
    assert api.cancel(other["id"])["status"] == "canceled"
    assert api.get(f"/v1/models/{destination}").json()["latest_version"] is None


def test_a_trainings_input_is_checked_by_its_own_schema(api: Api, trainable: str, destination: str):
    told = problem(api.post(path(trainable), json={"destination": destination, "input": {"seconds": 601}}), 422)
    assert {(wrong["type"], wrong["field"]) for wrong in told["invalid_fields"]} == {("required", "input"), ("number_lte", "input.seconds")}


def test_what_a_training_made_is_a_version_of_the_destination_and_runs(api: Api, trainable: str, destination: str):
    before = api.get(f"/v1/models/{trainable.partition(':')[0]}").json()["run_count"]
    ended = training.ended(api, train(api, trainable, destination, {"text": "learned this"})["id"])
    assert ended["status"] == "succeeded", ended
    assert set(ended["output"]) == {"version", "weights"}
    model, _, version = ended["output"]["version"].partition(":")
    assert model == destination
    weights = httpx.get(ended["output"]["weights"]).text
    assert "learned this" in weights
    assert api.get(f"/v1/models/{destination}").json()["latest_version"]["id"] == version
    said = httpx.get(api.run(f"{destination}:{version}", {"text": "now"})["output"]).text
    assert said == f"{weights} now"
    assert 0 < ended["metrics"]["predict_time"] <= ended["metrics"]["total_time"]
    assert api.get(f"/v1/models/{trainable.partition(':')[0]}").json()["run_count"] == before


def test_training_the_same_again_gives_the_same_version(api: Api, trainable: str, destination: str):
    ended = [training.ended(api, train(api, trainable, destination, {"text": "the same"})["id"]) for _ in range(2)]
    assert ended[0]["output"]["version"] == ended[1]["output"]["version"]
    version = ended[0]["output"]["version"].partition(":")[2]
    listed = api.get(f"/v1/models/{destination}/versions").json()["results"]
    assert [one["id"] for one in listed].count(version) == 1


def test_a_training_is_charged_by_the_second_even_where_predictions_are_not(api: Api, trainable: str, destination: str):
    model = trainable.partition(":")[0]
    pricing = {"unit": "token", "prompt": "0.000001", "completion": "0.000001"}
    assert api.patch(f"/v1/models/{model}", json={"pricing": pricing}).status_code == 200
    try:
        ended = training.ended(api, train(api, trainable, destination, {"text": "paid"})["id"])
    finally:
        api.patch(f"/v1/models/{model}", json={"pricing": {"unit": "second"}})
    (line,) = ended["cost_lines"]
    assert (line["meter"], line["unit"]) == ("run_time", "second")
    assert Decimal(ended["cost"]) == Decimal(line["amount"]) > 0


def test_a_training_that_becomes_no_version_fails_and_costs_nothing(server: Server, api: Api, trainable: str):
    token = server.account("fickle", "1")
    fickle = server.api(token)
    fickle.post("/v1/models", json={"owner": "fickle", "name": "gone", "visibility": "private", "hardware": "cpu"})
    id = train(fickle, trainable, "fickle/gone", {"text": "x", "seconds": 1})["id"]
    assert fickle.delete("/v1/models/fickle/gone").status_code == 204
    ended = training.ended(fickle, id)
    assert (ended["status"], ended["error_code"]) == ("failed", "publish_failed")
    assert "destination" in ended["error"] and ended["output"] is None
    assert Decimal(ended["cost"]) == 0 and fickle.balance() == 1


def test_the_command_line_trains_and_tells(server: Server, api: Api, trainable: str, destination: str):
    def told(*arguments: object) -> dict:
        return json.loads(server.feira("trainings", *arguments, "--json").stdout)

    created = told("create", trainable, "--destination", destination, "text=by hand", "seconds=600")
    assert (created["input"], created["destination"]) == ({"text": "by hand", "seconds": 600}, destination)
    assert told("list")[0]["id"] == told("show", created["id"])["id"] == created["id"]
    assert destination in server.feira("trainings", "list").stdout
    assert server.feira("trainings", "cancel", created["id"]).stdout == "canceled\n"
    assert server.feira("trainings", "create", "feira/trainable", "--destination", destination, check=False).returncode == 2
