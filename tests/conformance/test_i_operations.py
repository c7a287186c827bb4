"""Rows I: deployments, trainings, the largest file, hardware."""

from collections.abc import Callable, Iterator

import pytest

from harness.api import TERMINAL, Api, problem
from harness.wait import until

Publish = Callable[[str], str]
TRAINED_SECONDS_MAX = 120


def split(reference: str) -> tuple[str, str]:
    model, _, version = reference.partition(":")
    return model, version


def settings(name: str, reference: str, **changed: object) -> dict:
    model, version = split(reference)
    return {"name": name, "model": model, "version": version, "hardware": "cpu", "min_instances": 0, "max_instances": 2} | changed


def test_I1_a_deployment_is_created_changed_got_and_listed(api: Api, published: Publish):
    model, version = split(published("echo"))
    answer = api.post("/v1/deployments", json=settings("for-i1", published("echo")))
    assert answer.status_code == 200, answer.text
    made = answer.json()
    release = made["current_release"]
    assert (made["owner"], made["name"]) == ("feira", "for-i1")
    assert (release["number"], release["model"], release["version"]) == (1, model, version)
    assert release["configuration"] == {"hardware": "cpu", "min_instances": 0, "max_instances": 2}
    assert release["created_at"] and release["created_by"]["username"] == "feira" and release["created_by"]["type"]
    path = "/v1/deployments/feira/for-i1"
    assert api.get(path).json() == made
    changed = api.patch(path, json={"max_instances": 3})
    assert changed.status_code == 200
    release = changed.json()["current_release"]
    assert (release["number"], release["version"]) == (2, version)
    assert release["configuration"] == {"hardware": "cpu", "min_instances": 0, "max_instances": 3}
    assert api.get(path).json() == changed.json()
    assert changed.json() in api.get("/v1/deployments").json()["results"]
    problem(api.get("/v1/deployments/feira/nothing"), 404)
    problem(api.post("/v1/deployments", json=settings("for-i1", published("echo"))), 409)


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_instances": 6, "max_instances": 10},
        {"max_instances": 21},
        {"min_instances": 3, "max_instances": 2},
        {"min_instances": -1},
        {"max_instances": "many"},
        {"hardware": "abacus"},
        {"version": "0" * 64},
    ],
)
def test_I2_a_deployment_beyond_its_limits_is_refused(api: Api, published: Publish, wrong: dict):
    problem(api.post("/v1/deployments", json=settings("for-i2", published("echo"), **wrong)), 422)
    problem(api.get("/v1/deployments/feira/for-i2"), 404)


@pytest.fixture(scope="module")
def destination(api: Api) -> Iterator[str]:
    new = {"owner": "feira", "name": "taught", "visibility": "private", "hardware": "cpu"}
    assert api.post("/v1/models", json=new).status_code == 201
    return "feira/taught"


def trainings_of(reference: str) -> str:
    model, version = split(reference)
    return f"/v1/models/{model}/versions/{version}/trainings"


def test_I4_a_training_is_created_got_by_both_routes_and_cancelled(api: Api, published: Publish, destination: str):
    trains = published("trains")
    answer = api.post(trainings_of(trains), json={"destination": destination, "input": {"seconds": 600}})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["status"], made["model"], made["version"]) == ("starting", *split(trains))
    assert made["input"] == {"seconds": 600} and made["output"] is None and set(made["urls"]) >= {"get", "cancel"}
    for path in (f"/v1/trainings/{made['id']}", f"/v1/predictions/{made['id']}", made["urls"]["get"]):
        assert api.get(path).json()["id"] == made["id"]
    assert made["id"] in [one["id"] for one in api.get("/v1/trainings").json()["results"]]

    def it_is_training() -> bool:
        training = api.get(f"/v1/trainings/{made['id']}").json()
        assert training["status"] not in TERMINAL, training
        return "training" in (training["logs"] or "")

    until(it_is_training, TRAINED_SECONDS_MAX)
    canceled = api.post(f"/v1/trainings/{made['id']}/cancel")
    assert canceled.status_code == 200
    assert canceled.json()["status"] == "canceled" and canceled.json()["completed_at"]


def test_I4_a_destination_that_is_not_there_is_told_in_replicates_words(api: Api, published: Publish):
    answer = api.post(trainings_of(published("trains")), json={"destination": "feira/nowhere", "input": {}})
    assert problem(answer, 404)["detail"] == "The specified training destination does not exist"


def test_I6_a_training_ends_in_a_version_that_runs(api: Api, published: Publish, destination: str):
    made = api.post(trainings_of(published("trains")), json={"destination": destination, "input": {"greeting": "bom dia"}}).json()

    def training_has_ended() -> dict | None:
        training = api.get(f"/v1/trainings/{made['id']}").json()
        return training if training["status"] in TERMINAL else None

    ended = until(training_has_ended, TRAINED_SECONDS_MAX)
    assert ended["status"] == "succeeded", ended
    assert ended["output"]["weights"]
    version = split(ended["output"]["version"])[1]
    assert ended["output"]["version"].startswith(f"{destination}:")
    assert api.get(f"/v1/models/{destination}").json()["latest_version"]["id"] == version
    assert version in [one["id"] for one in api.get(f"/v1/models/{destination}/versions").json()["results"]]
    assert api.run(ended["output"]["version"], {"name": "Ada"})["output"] == "bom dia Ada"


def test_I8_a_file_too_large_is_refused_in_replicates_words(api: Api):
    head = b'--boundary\r\ncontent-disposition: form-data; name="content"; filename="big"\r\n\r\n'

    def body():
        yield head
        for _ in range(101):
            yield b"\0" * 1024 * 1024
        yield b"\r\n--boundary--\r\n"

    # On a connection of its own: the server closes it over what it does not read.
    with Api(api.url, api.token) as caller:
        answer = caller.post("/v1/files", content=body(), headers={"content-type": "multipart/form-data; boundary=boundary"})
    assert problem(answer, 413)["detail"] == "Files must be less than 100MB in size"


def test_I10_hardware_is_a_bare_list_of_names(api: Api):
    answer = api.get("/v1/hardware")
    assert answer.status_code == 200
    hardware = answer.json()
    assert "cpu" in [one["sku"] for one in hardware] and all(one["name"] and one["sku"] for one in hardware)
