"""Models and their versions: create, list, describe, delete."""

import re
from collections.abc import Callable

import pytest

from harness.api import Api, problem
from harness.projects import project
from harness.server import Server
from harness.wait import until

Publish = Callable[[str], str]
NULLABLE = {"github_url", "paper_url", "license_url", "cover_image_url", "default_example", "latest_version"}


def new_model(name: str, visibility: str = "public") -> dict:
    return {"owner": "feira", "name": name, "visibility": visibility, "hardware": "cpu", "description": f"The model {name}."}


def test_a_new_model_has_every_key_and_cannot_be_made_twice(api: Api):
    answer = api.post("/v1/models", json=new_model("fresh"))
    assert answer.status_code == 201
    model = answer.json()
    assert all(model[key] is None for key in NULLABLE)
    assert (model["run_count"], model["visibility"], model["description"]) == (0, "public", "The model fresh.")
    assert api.get("/v1/models/feira/fresh").json() == model
    assert "fresh" in problem(api.post("/v1/models", json=new_model("fresh")), 409)["detail"]


@pytest.mark.parametrize("change", [{"name": "Not A Name"}, {"visibility": "secret"}, {"hardware": "abacus"}, {"owner": 7}])
def test_a_model_with_a_wrong_field_is_refused(api: Api, change: dict):
    answer = api.post("/v1/models", json=new_model("wrong") | change)
    problem(answer, 422)


def test_a_model_of_another_account_is_not_for_me_to_make(server: Server, api: Api):
    stranger = server.api(server.account("maker"))
    problem(stranger.post("/v1/models", json=new_model("theirs")), 403)
    assert stranger.post("/v1/models", json=new_model("mine") | {"owner": "maker"}).status_code == 201


def test_a_published_model_shows_its_latest_version(api: Api, published: Publish):
    version = published("echo").partition(":")[2]
    model = api.get("/v1/models/feira/echo").json()
    latest = model["latest_version"]
    assert latest["id"] == version and re.fullmatch(r"\d+\.\d+\.\d+", latest["cog_version"])
    schemas = latest["openapi_schema"]["components"]["schemas"]
    assert schemas["Input"]["properties"]["text"]["type"] == "string" and schemas["Output"]["type"] == "string"
    listed = api.get("/v1/models/feira/echo/versions").json()
    assert [one["id"] for one in listed["results"]] == [version]
    assert api.get(f"/v1/models/feira/echo/versions/{version}").json() == latest
    problem(api.get(f"/v1/models/feira/echo/versions/{'0' * 64}"), 404)


def test_the_catalogue_is_sorted_as_asked_and_shows_nothing_without_a_version(api: Api, published: Publish):
    for name in ("echo", "files", "stream-words"):
        published(name)
    api.post("/v1/models", json=new_model("bare"))
    newest = api.get("/v1/models", params={"sort_by": "model_created_at", "sort_direction": "desc"}).json()["results"]
    oldest = api.get("/v1/models", params={"sort_by": "model_created_at", "sort_direction": "asc"}).json()["results"]
    published_names = [model["name"] for model in newest if model["latest_version"]]
    assert {"echo", "files", "stream-words"} <= set(published_names)
    times = [model["created_at"] for model in newest]
    assert times == sorted(times, reverse=True) and newest == oldest[::-1]
    problem(api.get("/v1/models", params={"sort_by": "beauty"}), 400)


def test_a_readme_is_kept_as_it_was_written(api: Api, published: Publish):
    published("files")
    problem(api.get("/v1/models/feira/files/readme"), 404)
    readme = "# Title\n\n*text* with ünïcode\r\n"
    assert api.patch("/v1/models/feira/files", json={"readme": readme}).status_code == 200
    answer = api.get("/v1/models/feira/files/readme")
    assert answer.content == readme.encode() and answer.headers["content-type"].startswith("text/plain")


def test_an_example_is_a_prediction_of_the_model(api: Api, published: Publish):
    echo = published("echo")
    example = api.run(echo, {"text": "an example"})
    assert api.patch("/v1/models/feira/echo", json={"default_example": example["id"]}).status_code == 200
    assert api.get("/v1/models/feira/echo").json()["default_example"]["id"] == example["id"]
    assert [one["id"] for one in api.get("/v1/models/feira/echo/examples").json()["results"]] == [example["id"]]


def test_runs_are_counted(api: Api, published: Publish):
    echo = published("echo")
    count = api.get("/v1/models/feira/echo").json()["run_count"]
    api.run(echo, {"text": "counted"})

    def run_is_counted() -> bool:
        return api.get("/v1/models/feira/echo").json()["run_count"] > count

    # Counts are gathered in memory and written every few seconds.
    until(run_is_counted, 15)


def test_a_deleted_version_is_gone_and_the_one_before_is_the_latest(server: Server, api: Api):
    first = server.push(project("echo"), "feira/two-versions")["id"]
    second = server.push(project("files"), "feira/two-versions")["id"]
    path = "/v1/models/feira/two-versions"
    assert api.get(path).json()["latest_version"]["id"] == second
    assert api.delete(f"{path}/versions/{second}").status_code == 202
    problem(api.get(f"{path}/versions/{second}"), 404)
    assert api.get(path).json()["latest_version"]["id"] == first
    problem(api.post("/v1/predictions", json={"version": f"feira/two-versions:{second}", "input": {}}), 422)


def test_only_an_empty_private_model_can_be_deleted(api: Api, published: Publish):
    published("echo")
    problem(api.delete("/v1/models/feira/echo"), 409)
    api.post("/v1/models", json=new_model("draft", "private"))
    assert api.delete("/v1/models/feira/draft").status_code == 204
    problem(api.get("/v1/models/feira/draft"), 404)


def test_search_finds_a_model_by_its_words(api: Api, published: Publish):
    published("stream-words")
    api.patch("/v1/models/feira/stream-words", json={"description": "Utters a sentence piecemeal."})
    found = api.get("/v1/search", params={"query": "piecemeal"}).json()["models"]
    assert [one["model"]["name"] for one in found] == ["stream-words"] and found[0]["metadata"]["score"] > 0
