"""Models and their versions: create, search, delete."""

from collections.abc import Callable

import pytest

from harness.api import Api, problem
from harness.server import Server

Publish = Callable[[str], str]


def new_model(name: str, visibility: str = "public") -> dict:
    return {"owner": "feira", "name": name, "visibility": visibility, "hardware": "cpu", "description": f"The model {name}."}


@pytest.mark.parametrize("change", [{"name": "Not A Name"}, {"visibility": "secret"}, {"hardware": "abacus"}, {"owner": 7}])
def test_a_model_with_a_wrong_field_is_refused(api: Api, change: dict):
    answer = api.post("/v1/models", json=new_model("wrong") | change)
    problem(answer, 422)


def test_a_model_of_another_account_is_not_for_me_to_make(server: Server, api: Api):
    stranger = server.api(server.account("maker"))
    problem(stranger.post("/v1/models", json=new_model("theirs")), 403)
    assert stranger.post("/v1/models", json=new_model("mine") | {"owner": "maker"}).status_code == 201


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
