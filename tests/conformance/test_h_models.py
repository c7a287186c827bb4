"""Rows H: models, their versions, examples and collections."""

import re
from collections.abc import Callable

import pytest

from harness.api import Api, problem
from harness.greeter import greeter
from harness.projects import project
from harness.server import Server
from harness.wait import until

Publish = Callable[[str], str]
NULLABLE = {"github_url", "paper_url", "license_url", "cover_image_url", "default_example", "latest_version"}
KEYS = NULLABLE | {"url", "owner", "name", "description", "visibility", "is_official", "run_count", "created_at"}
# Counts are gathered in memory and written every few seconds.
COUNTED_SECONDS_MAX = 15


def new_model(name: str, visibility: str = "public") -> dict:
    return {"owner": "feira", "name": name, "visibility": visibility, "hardware": "cpu", "description": f"The model {name}."}


def test_H1_a_new_model_has_every_key(api: Api):
    answer = api.post("/v1/models", json=new_model("fresh"))
    assert answer.status_code == 201
    model = answer.json()
    assert KEYS <= set(model)
    assert all(model[key] is None for key in NULLABLE)
    assert (model["run_count"], model["visibility"], model["description"]) == (0, "public", "The model fresh.")
    assert api.get("/v1/models/feira/fresh").json() == model


def test_H2_a_model_cannot_be_made_twice(api: Api):
    assert api.post("/v1/models", json=new_model("only-once")).status_code == 201
    assert "only-once" in problem(api.post("/v1/models", json=new_model("only-once")), 409)["detail"]


def test_H4_a_published_model_shows_its_latest_version_whole(api: Api, published: Publish):
    version = published("echo").partition(":")[2]
    latest = api.get("/v1/models/feira/echo").json()["latest_version"]
    assert latest["id"] == version and re.fullmatch(r"\d+\.\d+\.\d+", latest["cog_version"]) and latest["created_at"]
    schemas = latest["openapi_schema"]["components"]["schemas"]
    assert schemas["Input"]["properties"]["text"]["type"] == "string" and schemas["Output"]["type"] == "string"
    published("mirror")
    own_server = api.get("/v1/models/feira/mirror").json()["latest_version"]
    assert isinstance(own_server["cog_version"], str) and own_server["openapi_schema"]


def test_H5_the_catalogue_shows_public_models_with_an_example_sorted_as_asked(api: Api, published: Publish):
    shown = []
    for name in ("echo", "talks", "chunks"):
        input = {"echo": {"text": "x"}, "talks": {"prompt": "x"}, "chunks": {"chunks": "x"}}[name]
        example = api.run(published(name), input)["id"]
        assert api.patch(f"/v1/models/feira/{name}", json={"default_example": example}).status_code == 200
        shown.append(name)
    api.post("/v1/models", json=new_model("bare"))
    greeter(api, "feira/without-example")
    api.post("/v1/models", json=new_model("hidden-from-lists", "private"))
    moments = {
        "model_created_at": lambda model: model["created_at"],
        "latest_version_created_at": lambda model: model["latest_version"]["created_at"],
    }
    for key, of in moments.items():
        newest, oldest = (everything(api, "/v1/models", sort_by=key, sort_direction=direction) for direction in ("desc", "asc"))
        names = [model["name"] for model in newest]
        assert set(shown) <= set(names) and not {"bare", "without-example", "hidden-from-lists"} & set(names)
        assert all(model["visibility"] == "public" and model["latest_version"] and model["default_example"] for model in newest)
        times = [of(model) for model in newest]
        assert times == sorted(times, reverse=True) and [model["name"] for model in oldest] == names[::-1]
    by_default = [model["name"] for model in everything(api, "/v1/models")]
    assert by_default == [model["name"] for model in everything(api, "/v1/models", sort_by="latest_version_created_at", sort_direction="desc")]
    problem(api.get("/v1/models", params={"sort_by": "beauty"}), 400)


def everything(api: Api, path: str, **asked: str) -> list[dict]:
    """All pages of a list, one after the other."""
    page = api.get(path, params=asked).json()
    found = page["results"]
    while page["next"]:
        page = api.get(page["next"]).json()
        found += page["results"]
    return found


def test_H7_a_readme_is_kept_as_it_was_written(api: Api, published: Publish):
    published("files")
    problem(api.get("/v1/models/feira/files/readme"), 404)
    readme = "# Title\n\n*text* with ünïcode\r\n"
    assert api.patch("/v1/models/feira/files", json={"readme": readme}).status_code == 200
    answer = api.get("/v1/models/feira/files/readme")
    assert answer.content == readme.encode() and answer.headers["content-type"].startswith("text/plain")


def test_H9_versions_are_listed_got_and_deleted(server: Server, api: Api):
    first = server.push(project("echo"), "feira/two-versions")["id"]
    second = server.push(project("files"), "feira/two-versions")["id"]
    path = "/v1/models/feira/two-versions"
    assert [version["id"] for version in everything(api, f"{path}/versions")] == [second, first]
    assert api.get(f"{path}/versions/{second}").json() == api.get(path).json()["latest_version"]
    answer = api.delete(f"{path}/versions/{second}")
    assert (answer.status_code, answer.content) == (202, b"")
    problem(api.get(f"{path}/versions/{second}"), 404)
    assert api.get(path).json()["latest_version"]["id"] == first
    problem(api.post("/v1/predictions", json={"version": f"feira/two-versions:{second}", "input": {}}), 422)


def test_H10_examples_are_predictions_of_the_model(api: Api, published: Publish):
    example = api.run(published("echo"), {"text": "an example"})
    assert api.patch("/v1/models/feira/echo", json={"default_example": example["id"]}).status_code == 200
    assert api.get("/v1/models/feira/echo").json()["default_example"]["id"] == example["id"]
    page = api.get("/v1/models/feira/echo/examples").json()
    assert {"next", "previous"} < set(page) and example["id"] in [one["id"] for one in page["results"]]
    assert all(one["model"] == "feira/echo" for one in page["results"])


def test_H12_a_run_is_counted_once(api: Api):
    counted = greeter(api, "feira/counted")
    for runs in (1, 2):
        api.run(counted, {})

        def so_many_runs_are_counted() -> bool:
            return api.get("/v1/models/feira/counted").json()["run_count"] >= runs

        until(so_many_runs_are_counted, COUNTED_SECONDS_MAX)
        assert api.get("/v1/models/feira/counted").json()["run_count"] == runs


def test_H13_collections_are_pages_of_models_and_an_unknown_one_is_none(api: Api):
    page = api.get("/v1/collections").json()
    assert set(page) == {"next", "previous", "results"}
    for collection in page["results"]:
        assert {"name", "slug", "description"} <= set(collection)
        whole = api.get(f"/v1/collections/{collection['slug']}").json()
        assert whole["slug"] == collection["slug"] and all({"owner", "name", "run_count"} <= set(model) for model in whole["models"])
    problem(api.get("/v1/collections/nothing-of-the-kind"), 404)


@pytest.mark.parametrize(
    ("body", "kind"), [(b"piecemeal", "text/plain"), (b'"piecemeal"', "text/plain"), (b'"piecemeal"', "application/json")], ids=["py1", "js", "py2"]
)
def test_models_are_searched_by_the_body_of_each_client(api: Api, published: Publish, body: bytes, kind: str):
    example = api.run(published("stream-words"), {"text": "x"})["id"]
    api.patch("/v1/models/feira/stream-words", json={"description": "Utters a sentence piecemeal.", "default_example": example})
    answer = api.request("QUERY", "/v1/models", content=body, headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    assert [model["name"] for model in answer.json()["results"]] == ["stream-words"]
