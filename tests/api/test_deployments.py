"""Deployments: their releases, their limits, who sees them, and predictions that are asked of them."""

import itertools
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from harness.api import Api, problem
from harness.projects import copy, project
from harness.server import Server
from harness.wait import until

Publish = Callable[[str], str]
# Of a version that names no limit of its own.
RUN_SECONDS_MAX = 1_800
numbers = itertools.count()


@pytest.fixture
def order(published: Publish) -> dict:
    """What creates a deployment that nothing else has the name of."""
    model, _, version = published("echo").partition(":")
    return {"name": f"d{next(numbers)}", "model": model, "version": version, "hardware": "cpu", "min_instances": 0, "max_instances": 1}


def create(api: Api, order: dict) -> str:
    """Creates a deployment and says where it is."""
    answer = api.post("/v1/deployments", json=order)
    assert answer.status_code == 200, answer.text
    return f"/v1/deployments/feira/{order['name']}"


def deployed(api: Api, published: Publish, project: str) -> str:
    model, _, version = published(project).partition(":")
    name = f"d{next(numbers)}"
    return create(api, {"name": name, "model": model, "version": version, "hardware": "cpu", "min_instances": 0, "max_instances": 1})


def test_a_deployment_has_replicates_shape_and_every_change_is_a_release(api: Api, order: dict):
    answer = api.post("/v1/deployments", json=order)
    assert answer.status_code == 200
    created = answer.json()
    assert (created["owner"], created["name"]) == ("feira", order["name"])
    first = created["current_release"]
    assert (first["number"], first["model"], first["version"]) == (1, order["model"], order["version"])
    assert first["configuration"] == {"hardware": "cpu", "min_instances": 0, "max_instances": 1}
    assert {"type", "username", "name", "avatar_url", "github_url"} <= set(first["created_by"])
    assert first["created_by"]["username"] == "feira" and first["created_at"].endswith("Z")

    path = f"/v1/deployments/feira/{order['name']}"
    assert api.get(path).json() == created
    patched = api.patch(path, json={"max_instances": 3})
    assert patched.status_code == 200
    second = patched.json()["current_release"]
    assert second["number"] == 2 and second["configuration"] == first["configuration"] | {"max_instances": 3}
    assert api.get(path).json() == patched.json()
    assert patched.json() in api.get("/v1/deployments").json()["results"]
    assert api.get(f"{path}/releases").json()["results"] == [second, first]
    assert api.patch(path, json={}).json() == patched.json(), "a change of nothing is no release"


def test_a_list_of_deployments_has_the_newest_first(api: Api, order: dict):
    older, newer = order["name"], f"{order['name']}-newer"
    create(api, order)
    create(api, order | {"name": newer})
    page = api.get("/v1/deployments").json()
    assert page["previous"] is None
    assert [one["name"] for one in page["results"]][:2] == [newer, older]
    problem(api.get("/v1/deployments", params={"cursor": "nonsense"}), 400)


def test_a_name_is_taken_once_until_it_is_deleted(api: Api, order: dict):
    path = create(api, order)
    assert order["name"] in problem(api.post("/v1/deployments", json=order), 409)["detail"]
    assert api.delete(path).status_code == 204
    problem(api.get(path), 404)
    assert create(api, order) == path
    assert api.get(path).json()["current_release"]["number"] == 1


@pytest.mark.parametrize(
    ("change", "type", "field"),
    [
        ({"min_instances": 6, "max_instances": 10}, "number_lte", "min_instances"),
        ({"max_instances": 21}, "number_lte", "max_instances"),
        ({"max_instances": 2**40}, "number_lte", "max_instances"),
        ({"min_instances": 2, "max_instances": 1}, "number_lte", "min_instances"),
        ({"min_instances": -1}, "number_gte", "min_instances"),
        ({"max_instances": "many"}, "invalid_type", "max_instances"),
        ({"hardware": "abacus"}, "enum", "hardware"),
        ({"version": "0" * 64}, "unknown", "version"),
        ({"version": "latest"}, "unknown", "version"),
    ],
)
def test_what_cannot_be_deployed_names_its_field_in_a_new_one_and_in_a_change(api: Api, order: dict, change: dict, type: str, field: str):
    told = problem(api.post("/v1/deployments", json=order | change), 422)
    assert [(wrong["type"], wrong["field"]) for wrong in told["invalid_fields"]] == [(type, field)]
    assert told["title"] == "Input validation failed"
    path = create(api, order)
    told = problem(api.patch(path, json=change), 422)
    assert [(wrong["type"], wrong["field"]) for wrong in told["invalid_fields"]] == [(type, field)]
    assert api.get(path).json()["current_release"]["number"] == 1


def test_everything_that_is_required_is_asked_for_at_once(api: Api, order: dict):
    told = problem(api.post("/v1/deployments", json={}), 422)
    assert [wrong["description"] for wrong in told["invalid_fields"]] == [f"{name} is required" for name in order]
    problem(api.post("/v1/deployments", json=order | {"model": "feira/nothing"}), 422)
    problem(api.post("/v1/deployments", json=order | {"name": "Not A Name"}), 422)


def test_a_prediction_of_a_deployment_runs_its_releases_version(api: Api, published: Publish):
    path = deployed(api, published, "echo")
    _, _, version = published("echo").partition(":")
    answer = api.post(f"{path}/predictions", json={"input": {"text": "hi"}})
    assert answer.status_code == 201
    fresh = answer.json()
    assert (fresh["deployment"], fresh["model"], fresh["version"]) == (path.removeprefix("/v1/deployments/"), "feira/echo", version)
    assert answer.headers["location"] == fresh["urls"]["get"]
    ended = api.ended(fresh["id"])
    assert (ended["status"], ended["output"], ended["deployment"]) == ("succeeded", "hi", fresh["deployment"])
    waited = api.post(f"{path}/predictions", json={"input": {"text": "now"}}, headers={"prefer": "wait"}).json()
    assert (waited["status"], waited["output"]) == ("succeeded", "now")


def test_a_prediction_of_a_deployment_is_checked_like_any_other(api: Api, published: Publish):
    path = deployed(api, published, "echo")
    told = problem(api.post(f"{path}/predictions", json={"input": {}}), 422)
    assert told["detail"] == "- input: text is required\n"
    told = problem(api.post(f"{path}/predictions", json={"input": {"text": "x"}, "version": published("echo")}), 422)
    assert told["invalid_fields"][0]["type"] == "additional_property_not_allowed"
    key = {"idempotency-key": path}
    first, second = (api.post(f"{path}/predictions", json={"input": {"text": "once"}}, headers=key).json() for _ in range(2))
    assert first["id"] == second["id"]


def test_the_hardware_of_the_release_is_what_the_prediction_waits_for_and_is_held_for(server: Server, order: dict):
    renter = server.api(server.account("renter", "100"))
    assert renter.post("/v1/deployments", json=order | {"hardware": "gpu-h100-8x"}).status_code == 200
    fresh = renter.post(f"/v1/deployments/renter/{order['name']}/predictions", json={"input": {"text": "x"}}).json()
    assert (fresh["hardware"], fresh["deployment"]) == ("gpu-h100-8x", f"renter/{order['name']}")
    rate = next(Decimal(one["per_second"]) for one in renter.get("/v1/prices").json()["hardware"] if one["sku"] == "gpu-h100-8x")
    assert 100 - renter.balance() == rate * RUN_SECONDS_MAX
    canceled = renter.cancel(fresh["id"])
    assert (canceled["status"], Decimal(canceled["cost"])) == ("canceled", 0)
    assert renter.balance() == 100


def test_turning_a_deployment_off_cancels_what_waits_and_runs_and_refuses_what_comes(api: Api, published: Publish):
    path = deployed(api, published, "sleepy")
    ids = [api.post(f"{path}/predictions", json={"input": {"seconds": 600}}).json()["id"] for _ in range(3)]
    api.running(ids[0], "asleep")
    off = api.patch(path, json={"min_instances": 0, "max_instances": 0})
    assert off.json()["current_release"]["number"] == 2
    assert [api.ended(id, 10)["status"] for id in ids] == ["canceled"] * 3
    told = problem(api.post(f"{path}/predictions", json={"input": {"seconds": 0}}), 422)
    assert told["title"] == "Deployment is off" and "max_instances" in told["detail"]
    api.patch(path, json={"max_instances": 1})
    again = api.post(f"{path}/predictions", json={"input": {"seconds": 0}}).json()
    assert api.ended(again["id"])["status"] == "succeeded"


def test_a_deployment_that_is_in_use_is_not_deleted(api: Api, published: Publish):
    path = deployed(api, published, "sleepy")
    id = api.post(f"{path}/predictions", json={"input": {"seconds": 600}}).json()["id"]
    assert "1 predictions" in problem(api.delete(path), 409)["detail"]
    api.cancel(id)
    api.patch(path, json={"min_instances": 1})
    assert "min_instances" in problem(api.delete(path), 409)["detail"]
    api.patch(path, json={"min_instances": 0})
    assert api.delete(path).status_code == 204


def test_a_stranger_sees_a_deployment_exactly_as_an_unknown_one(server: Server, api: Api, order: dict):
    path = create(api, order)
    stranger = server.api(server.account(f"stranger-{order['name']}", "1"))
    for method, more, body in [
        ("GET", "", None),
        ("PATCH", "", {"max_instances": 2}),
        ("DELETE", "", None),
        ("GET", "/releases", None),
        ("POST", "/predictions", {"input": {"text": "x"}}),
    ]:
        foreign = problem(stranger.request(method, path + more, json=body), 404)
        assert foreign == problem(stranger.request(method, f"/v1/deployments/feira/nothing{more}", json=body), 404)
    assert stranger.get("/v1/deployments").json()["results"] == []
    assert stranger.balance() == 1


def test_deployments_have_scopes_of_their_own(server: Server, api: Api, order: dict):
    path = create(api, order)
    made = api.post("/v1/account/tokens", json={"name": "reader", "scopes": ["deployments:read", "predictions:write"]}).json()
    reader = server.api(made["token"])
    assert reader.get(path).status_code == 200
    assert "deployments:write" in problem(reader.patch(path, json={"max_instances": 2}), 403)["detail"]
    problem(reader.post("/v1/deployments", json=order | {"name": "other"}), 403)
    assert reader.post(f"{path}/predictions", json={"input": {"text": "x"}}).status_code == 201


def test_the_command_line_makes_changes_and_takes_them_back(server: Server, api: Api, published: Publish):
    _, _, version = published("echo").partition(":")
    name = f"d{next(numbers)}"
    deployment = f"feira/{name}"

    def told(*arguments: object) -> dict:
        return json.loads(server.feira("deployments", *arguments, "--json").stdout)

    created = told("create", name, "--model", "feira/echo", "--max", 2)
    assert created["current_release"]["version"] == version
    assert created["current_release"]["configuration"] == {"hardware": "cpu", "min_instances": 0, "max_instances": 2}
    assert told("update", deployment, "--max", 4)["current_release"]["configuration"]["max_instances"] == 4
    back = told("rollback", deployment)["current_release"]
    assert (back["number"], back["configuration"]["max_instances"]) == (3, 2)
    assert told("rollback", deployment, "--to", 2)["current_release"]["configuration"]["max_instances"] == 4
    assert told("show", deployment)["current_release"]["number"] == 4
    assert deployment in server.feira("deployments", "list").stdout
    assert "0–4" in server.feira("deployments", "show", deployment).stdout
    assert server.feira("deployments", "rollback", deployment, "--to", 9, check=False).returncode == 2
    server.feira("deployments", "delete", deployment)
    assert server.feira("deployments", "show", deployment, check=False).returncode == 4


def test_a_release_of_another_version_is_what_runs_next(server: Server, api: Api, tmp_path: Path):
    twice = (project("echo") / "predict.py").read_text().replace("return text", "return text * 2")
    model = f"feira/versions-{next(numbers)}"
    first = server.push(copy("echo", tmp_path), model)["id"]
    second = server.push(copy("echo", tmp_path / "again", {"predict.py": twice}), model)["id"]
    name = model.partition("/")[2]
    path = create(api, {"name": name, "model": model, "version": first, "hardware": "cpu", "min_instances": 0, "max_instances": 1})

    def output() -> str:
        id = api.post(f"{path}/predictions", json={"input": {"text": "a"}}).json()["id"]
        return api.ended(id)["output"]

    assert output() == "a"
    assert api.patch(path, json={"version": f"{model}:{second}"}).json()["current_release"]["version"] == second
    assert output() == "aa"


def test_a_deployment_keeps_its_minimum_warm_and_never_runs_more_than_its_maximum(api: Api, published: Publish):
    model, _, version = published("sleepy").partition(":")
    name = f"d{next(numbers)}"
    path = create(
        api, {"name": name, "model": model, "version": version, "hardware": "cpu", "min_instances": 1, "max_instances": 1}
    )

    def cards() -> list[dict]:
        every = [card for runner in api.get("/v1/runners").json()["runners"] for card in runner["versions"]]
        return [card for card in every if card["deployment"] == f"feira/{name}"]

    def an_instance_is_warm_before_anybody_asks() -> bool:
        return any(card["instances_warm"] == 1 for card in cards())

    def all_instances_are_gone() -> bool:
        return not any(card["instances_warm"] + card["instances_starting"] for card in cards())

    until(an_instance_is_warm_before_anybody_asks, 60)
    ids = [api.post(f"{path}/predictions", json={"input": {"seconds": 0.3}}).json()["id"] for _ in range(3)]
    ended = [api.ended(id) for id in ids]
    assert [one["status"] for one in ended] == ["succeeded"] * 3
    assert all(one["timings"]["cold"] is None for one in ended)
    # One instance of one place: they ran one after another.
    spans = sorted((one["started_at"], one["completed_at"]) for one in ended)
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans)), spans
    assert api.patch(path, json={"min_instances": 0}).status_code == 200
    assert api.patch(path, json={"max_instances": 0}).status_code == 200
    until(all_instances_are_gone, 30)
    assert api.delete(path).status_code == 204
