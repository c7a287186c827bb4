"""Who may call, and how the API answers when it does not understand."""

import httpx
import pytest

from harness.api import Api, problem
from harness.server import Server

UNAUTHENTICATED = {"title": "Unauthenticated", "detail": "You did not pass a valid authentication token", "status": 401}


@pytest.mark.parametrize("header", [None, "Bearer junk", "Bearer fe_" + "0" * 40, "Basic Zm9vOmJhcg=="])
def test_a_call_without_a_valid_token_is_refused_in_replicates_words(server: Server, header: str | None):
    headers = {"authorization": header} if header else {}
    for method, path in [("GET", "/v1/account"), ("POST", "/v1/predictions"), ("GET", "/v1/predictions")]:
        assert problem(httpx.request(method, server.url + path, headers=headers), 401) == UNAUTHENTICATED


def test_both_schemes_of_the_authorization_header_are_taken(server: Server):
    answers = [httpx.get(f"{server.url}/v1/account", headers={"authorization": f"{scheme} {server.token}"}) for scheme in ("Bearer", "Token")]
    assert answers[0].json() == answers[1].json()
    account = answers[0].json()
    assert (account["type"], account["username"]) == ("organization", "feira") and account["name"]


def test_search_needs_no_token(server: Server):
    answer = httpx.get(f"{server.url}/v1/search", params={"query": "x"})
    assert answer.status_code == 200
    assert set(answer.json()) == {"query", "models", "collections", "pages"}
    assert problem(httpx.get(f"{server.url}/v1/search"), 400)["detail"] == 'Query parameter "query" is required'


def test_an_unknown_route_and_a_wrong_method_are_told_as_problems(api: Api):
    assert "openapi.json" in problem(api.get("/v1/nope"), 404)["detail"]
    answer = api.put("/v1/predictions")
    problem(answer, 405)
    assert "POST" in answer.headers["allow"]


def test_every_guess_of_the_base_address_works(api: Api):
    answers = [api.get(path) for path in ("/v1/hardware", "/v1/v1/hardware", "/hardware")]
    assert all(answer.status_code == 200 for answer in answers)
    hardware = answers[0].json()
    assert hardware == answers[1].json() == answers[2].json()
    assert {"sku", "name"} <= set(hardware[0])


def test_prices_balance_and_contract_are_there_for_callers(api: Api):
    assert any(price["sku"] == "cpu" for price in api.get("/v1/prices").json()["hardware"])
    assert set(api.get("/v1/account/balance").json()) == {"credit", "held", "available"}
    contract = httpx.get(f"{api.url}/openapi.json").json()
    assert contract["openapi"].startswith("3.") and "/v1/predictions" in contract["paths"]


def test_a_token_does_only_what_its_scopes_say_and_nothing_once_revoked(server: Server, api: Api):
    made = api.post("/v1/account/tokens", json={"name": "reader", "scopes": ["predictions:read"]})
    assert made.status_code == 201
    reader = server.api(made.json()["token"])
    assert reader.get("/v1/predictions").status_code == 200
    assert "predictions:write" in problem(reader.post("/v1/predictions", json={"version": "a/b", "input": {}}), 403)["detail"]
    assert api.delete(f"/v1/account/tokens/{made.json()['id']}").status_code == 204
    assert problem(reader.get("/v1/predictions"), 401) == UNAUTHENTICATED


def test_only_operators_make_accounts_and_grant_credit(server: Server):
    stranger = server.api(server.account("no-operator"))
    problem(stranger.post("/v1/accounts", json={"name": "another"}), 403)
    problem(stranger.post("/v1/accounts/no-operator/credit", json={"amount": "5"}), 403)
    problem(stranger.get("/v1/runners"), 403)
    assert stranger.balance() == 0


def test_the_server_says_that_it_lives_and_is_ready(server: Server):
    assert httpx.get(f"{server.url}/livez").status_code == 200
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    metrics = httpx.get(f"{server.url}/metrics").text
    assert "feira_" in metrics
