"""What runs cost: by the second, only when they should, never more than there is."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from harness.api import Api, problem
from harness.server import Server

Publish = Callable[[str], str]
# Nano-dollars are the smallest money there is.
SMALLEST = Decimal("0.000000001")


def rate(api: Api, sku: str = "cpu") -> Decimal:
    return next(Decimal(one["per_second"]) for one in api.get("/v1/prices").json()["hardware"] if one["sku"] == sku)


def test_a_run_costs_its_own_seconds_and_the_lines_say_how(server: Server, published: Publish):
    sleepy = published("sleepy")
    # An account of its own: what other tests left running holds credit of theirs.
    api = server.api(server.account("payer", "1"))
    before = api.balance()
    ended = api.run(sleepy, {"seconds": 0.5})
    (line,) = ended["cost_lines"]
    seconds = Decimal(line["quantity"])
    assert (line["meter"], line["unit"], Decimal(line["unit_price"])) == ("run_time", "second", rate(api))
    assert Decimal("0.5") <= seconds < 2 and abs(float(seconds) - ended["metrics"]["predict_time"]) < 1e-6
    assert Decimal(ended["cost"]) == Decimal(line["amount"])
    assert abs(Decimal(ended["cost"]) - seconds * rate(api)) <= SMALLEST
    assert api.balance() == before - Decimal(ended["cost"])


def test_a_cold_start_is_not_charged(api: Api, published: Publish):
    ended = api.run(published("echo"), {"text": "cold or warm"})
    assert Decimal(ended["cost"]) < rate(api)


def test_a_cancelled_run_costs_the_time_until_its_stop(api: Api, published: Publish):
    id = api.create(published("sleepy"), {"seconds": 60})["id"]
    api.running(id, "asleep")
    canceled = api.cancel(id)
    assert 0 < Decimal(canceled["cost"]) < 10 * rate(api)
    assert abs(Decimal(canceled["cost"]) - Decimal(str(canceled["metrics"]["predict_time"])) * rate(api)) <= 10 * SMALLEST


def test_a_failed_run_is_free(server: Server, published: Publish):
    raises = published("predict-raises")
    api = server.api(server.account("unlucky", "1"))
    before = api.balance()
    ended = api.run(raises, {})
    assert (ended["status"], ended["cost"], ended.get("cost_lines", [])) == ("failed", "0", [])
    assert api.balance() == before


def test_credit_is_held_while_a_run_lasts_and_returned_after_it(server: Server, api: Api, published: Publish):
    sleepy = published("sleepy")
    caller = server.api(server.account("holder", "1"))
    id = caller.create(sleepy, {"seconds": 30})["id"]
    caller.running(id, "asleep")
    balance = caller.get("/v1/account/balance").json()
    held = Decimal(balance["held"])
    assert 0 < held and Decimal(balance["available"]) == 1 - held
    canceled = caller.cancel(id)
    balance = caller.get("/v1/account/balance").json()
    assert (Decimal(balance["held"]), Decimal(balance["available"])) == (0, 1 - Decimal(canceled["cost"]))


def test_a_caller_without_credit_is_told_what_to_do_and_runs_nothing(server: Server, published: Publish):
    echo = published("echo")
    for name, dollars in (("penniless", None), ("almost", "0.0001")):
        caller = server.api(server.account(name, dollars))
        before = caller.balance()
        told = problem(caller.post("/v1/predictions", json={"version": echo, "input": {"text": "x"}}), 402)
        assert told["title"] == "Insufficient credit" and "feira credit grant" in told["detail"]
        assert caller.get("/v1/predictions").json()["results"] == []
        assert caller.balance() == before


def test_credit_is_never_overdrawn_by_calls_at_once(server: Server, published: Publish):
    sleepy = published("sleepy")
    caller = server.api(server.account("hasty", "1"))
    with ThreadPoolExecutor(20) as callers:
        order = {"version": sleepy, "input": {"seconds": 30}}
        answers = list(callers.map(lambda _: caller.post("/v1/predictions", json=order), range(20)))
    statuses = {answer.status_code for answer in answers}
    taken = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert statuses == {201, 402} and 0 < len(taken) < 20
    assert caller.balance() >= 0
    for id in taken:
        caller.cancel(id)
    assert Decimal(caller.get("/v1/account/balance").json()["held"]) == 0


def test_a_price_by_the_token_must_be_a_decimal_without_a_sign(api: Api):
    for prompt in ("-1", "cheap", ""):
        pricing = {"unit": "token", "prompt": prompt, "completion": "0.1"}
        body = {"owner": "feira", "name": "mispriced", "visibility": "public", "hardware": "cpu", "pricing": pricing}
        problem(api.post("/v1/models", json=body), 422)
