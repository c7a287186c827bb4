"""Rows A: who may call, where, how often, and how the API answers when it does not understand."""

import re
from collections.abc import Callable

import httpx
import pytest

from harness.api import Api, problem
from harness.greeter import greeter
from harness.server import Server
from harness.wait import until

Publish = Callable[[str], str]
UNAUTHENTICATED = {"title": "Unauthenticated", "detail": "You did not pass a valid authentication token", "status": 401}
CREATES_A_MINUTE = 5


def test_A1_a_call_without_a_token_is_refused_in_replicates_words(server: Server):
    for method, path in [("GET", "/v1/account"), ("POST", "/v1/predictions"), ("GET", "/v1/predictions")]:
        assert problem(httpx.request(method, server.url + path), 401) == UNAUTHENTICATED


def account(server: Server, scheme: str) -> dict:
    answer = httpx.get(f"{server.url}/v1/account", headers={"authorization": f"{scheme} {server.token}"})
    assert answer.status_code == 200
    return answer.json()


def test_A2_the_bearer_scheme_is_taken(server: Server):
    told = account(server, "Bearer")
    assert (told["type"], told["username"]) == ("organization", "feira") and told["name"]


def test_A3_the_token_scheme_is_taken_alike(server: Server):
    assert account(server, "Token") == account(server, "Bearer")


@pytest.mark.parametrize("header", ["Bearer junk", "Bearer fe_" + "0" * 40, "Basic Zm9vOmJhcg=="])
def test_A4_a_wrong_token_is_refused_and_nothing_is_enqueued(server: Server, api: Api, published: Publish, header: str):
    body = {"version": published("echo"), "input": {"text": "from nobody"}}
    answer = httpx.post(f"{server.url}/v1/predictions", json=body, headers={"authorization": header})
    assert problem(answer, 401) == UNAUTHENTICATED
    assert "from nobody" not in api.get("/v1/predictions").text


def test_A5_search_needs_no_token(server: Server):
    answer = httpx.get(f"{server.url}/v1/search", params={"query": "x"})
    assert answer.status_code == 200
    assert set(answer.json()) == {"query", "models", "collections", "pages"}
    assert problem(httpx.get(f"{server.url}/v1/search"), 400)["detail"] == 'Query parameter "query" is required'


def test_A6_whatever_is_wrong_is_told_as_a_problem(server: Server, api: Api, published: Publish):
    echo = published("echo")
    json_type = {"content-type": "application/json"}
    nested = b'{"version": "feira/echo", "input": ' + b'{"a": ' * 5000 + b"1" + b"}" * 5001
    huge = b'{"version": "feira/echo", "input": {"text": "' + b"x" * 64 * 1024 * 1024 + b'"}}'
    for status, answer in [
        (400, api.post("/v1/predictions", content=b"{", headers=json_type)),
        (400, api.post("/v1/predictions", content=nested, headers=json_type)),
        (400, api.get("/v1/predictions", params={"cursor": "x"})),
        (401, httpx.get(f"{server.url}/v1/predictions")),
        (404, api.get("/v1/predictions/nope")),
        (404, api.get("/v1/models/feira/nope")),
        (404, api.post("/v1/models/feira/nope/predictions", json={"input": {}})),
        (405, api.put("/v1/predictions")),
        (413, server.api().post("/v1/predictions", content=huge, headers=json_type)),
        (422, api.post("/v1/predictions", json={"version": echo, "input": {"text": ["not a string"]}})),
        (422, api.post("/v1/models", json={"owner": "feira"})),
    ]:
        told = problem(answer, status)
        assert not re.search(r"\bserde|sqlx|axum|panick|src/|\.rs\b", answer.text), told
    assert "POST" in api.put("/v1/predictions").headers["allow"]


def test_A7_an_unknown_route_is_told_in_json(api: Api):
    assert "openapi.json" in problem(api.get("/v1/nope"), 404)["detail"]


def test_A10_every_guess_of_the_base_address_works(api: Api):
    answers = [api.get(path) for path in ("/v1/hardware", "/v1/v1/hardware", "/hardware")]
    assert all(answer.status_code == 200 for answer in answers)
    hardware = answers[0].json()
    assert isinstance(hardware, list) and hardware == answers[1].json() == answers[2].json()


def test_A11_every_authorised_answer_says_what_is_left(api: Api, published: Publish):
    order = {"version": published("echo"), "input": {"text": "x"}}
    for answer in [api.get("/v1/account"), api.get("/v1/predictions"), api.get("/v1/predictions/nope"), api.post("/v1/predictions", json=order)]:
        assert int(answer.headers["ratelimit-remaining"]) >= 0
        assert int(answer.headers["ratelimit-reset"]) >= 0
    left = [int(api.get("/v1/account").headers["ratelimit-remaining"]) for _ in range(2)]
    assert left[1] <= left[0]


def test_A12_beyond_the_limit_one_is_told_how_long_to_wait_and_then_served(limited: Server):
    api = limited.api()
    order = {"version": greeter(api, "feira/limited"), "input": {}}
    answers = [api.post("/v1/predictions", json=order) for _ in range(CREATES_A_MINUTE + 2)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:CREATES_A_MINUTE] == [201] * CREATES_A_MINUTE and statuses[-1] == 429
    told = problem(answers[-1], 429)
    seconds = int(answers[-1].headers["retry-after"])
    assert told["retry_after"] == seconds and 1 <= seconds <= 60 / CREATES_A_MINUTE + 1
    assert f"Your rate limit resets in ~{seconds}s" in told["detail"]
    assert api.get("/v1/predictions").status_code == 200, "what is no create has a limit of its own"

    def a_create_is_taken_again() -> bool:
        return api.post("/v1/predictions", json=order).status_code == 201

    until(a_create_is_taken_again, seconds + 1)
