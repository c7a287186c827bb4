"""Collections, and what a search finds besides models."""

import httpx
import pytest

from harness.api import Api, problem
from harness.server import Server


def test_an_operator_makes_changes_and_deletes_a_collection(api: Api, published):
    published("echo")
    new = {"slug": "sayers", "name": "Sayers", "description": "They say it again.", "full_description": "# All", "models": ["feira/echo"]}
    made = api.post("/v1/collections", json=new)
    assert made.status_code == 201
    collection = api.get("/v1/collections/sayers").json()
    assert collection == made.json() and [model["name"] for model in collection["models"]] == ["echo"]
    listed = api.get("/v1/collections").json()
    assert {"name": "Sayers", "slug": "sayers", "description": "They say it again."} in listed["results"]
    problem(api.post("/v1/collections", json=new), 409)
    problem(api.post("/v1/collections", json=new | {"slug": "other", "models": ["feira/absent"]}), 422)
    changed = api.patch("/v1/collections/sayers", json={"name": "Parrots", "models": []}).json()
    assert (changed["name"], changed["models"], changed["description"]) == ("Parrots", [], "They say it again.")
    found = api.get("/v1/search", params={"query": "parrots"}).json()["collections"]
    assert [one["slug"] for one in found] == ["sayers"]
    assert api.delete("/v1/collections/sayers").status_code == 204
    problem(api.get("/v1/collections/sayers"), 404)
    problem(api.delete("/v1/collections/sayers"), 404)


def test_only_operators_make_collections_and_nobody_else_sees_what_is_private(server: Server, api: Api):
    reader = server.api(server.account("collector"))
    problem(reader.post("/v1/collections", json={"slug": "mine", "name": "Mine"}), 403)
    api.post("/v1/models", json={"owner": "feira", "name": "private-one", "visibility": "private", "hardware": "cpu"})
    assert api.post("/v1/collections", json={"slug": "half", "name": "Half", "models": ["feira/private-one"]}).status_code == 201
    assert reader.get("/v1/collections/half").json()["models"] == []
    assert len(api.get("/v1/collections/half").json()["models"]) == 1


def test_a_search_finds_the_pages_that_tell_how(server: Server):
    found = httpx.get(f"{server.url}/v1/search", params={"query": "openapi"}).json()
    assert [page["name"] for page in found["pages"]] == ["API reference"]
    for page in httpx.get(f"{server.url}/v1/search", params={"query": "docs"}).json()["pages"]:
        assert httpx.get(page["href"]).status_code == 200


@pytest.mark.parametrize(("body", "kind"), [("query-me", "text/plain"), ('"query-me"', "text/plain"), ('"query-me"', "application/json")])
def test_query_finds_models_in_each_form_that_clients_send(api: Api, body: str, kind: str):
    api.post("/v1/models", json={"owner": "feira", "name": "query-me", "visibility": "public", "hardware": "cpu"})
    answer = api.request("QUERY", "/v1/models", content=body, headers={"content-type": kind})
    assert answer.status_code == 200
    assert [model["name"] for model in answer.json()["results"]] == ["query-me"]


def test_query_without_a_query_says_what_is_missing(api: Api):
    assert "empty" in problem(api.request("QUERY", "/v1/models", content=b""), 400)["detail"]
    answer = api.request("PUT", "/v1/models")
    assert "QUERY" in answer.headers["allow"]
    problem(httpx.request("QUERY", f"{api.url}/v1/models", content=b"x"), 401)
