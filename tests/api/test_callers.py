"""Who may call what, and what a caller finds beside Replicate's routes."""

import httpx

from harness.api import Api, problem
from harness.server import Server

UNAUTHENTICATED = {"title": "Unauthenticated", "detail": "You did not pass a valid authentication token", "status": 401}


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


def test_a_page_of_another_origin_may_do_what_its_token_may(api: Api):
    origin = {"origin": "https://app.example"}
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type,prefer"}
    preflight = httpx.options(f"{api.url}/v1/predictions", headers=origin | asked)
    assert preflight.status_code == 200
    allowed = preflight.headers
    assert allowed["access-control-allow-origin"] == "*" and "POST" in allowed["access-control-allow-methods"]
    assert {"authorization", "content-type", "prefer"} <= set(allowed["access-control-allow-headers"].split(","))
    answer = api.get("/v1/account", headers=origin)
    assert answer.headers["access-control-allow-origin"] == "*"
    # Cookies open nothing: no page may send them.
    assert "access-control-allow-credentials" not in answer.headers
    exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert {"location", "retry-after", "ratelimit-remaining"} <= exposed
