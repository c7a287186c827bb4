"""Rows G: webhooks, on a server that may deliver to this machine."""

import base64
import re
from collections.abc import Callable, Iterator

import pytest
import replicate
from replicate.webhook import InvalidSignatureError, Webhooks

from harness.api import TERMINAL, Api, problem
from harness.greeter import greeter
from harness.javascript import node
from harness.projects import project
from harness.receiver import Call, Receiver
from harness.server import Server

Publish = Callable[[str], str]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def caller(telling: Server) -> Api:
    return telling.api()


@pytest.fixture(scope="module")
def greets(caller: Api) -> str:
    return greeter(caller, "feira/greeter")


@pytest.fixture(scope="module")
def words(telling: Server) -> str:
    return f"feira/stream-words:{telling.push(project('stream-words'), 'feira/stream-words')['id']}"


def order(version: str, input: dict, hook: str, events: list[str] | None = None) -> dict:
    asked = {"version": version, "input": input, "webhook": hook}
    return asked | ({"webhook_events_filter": events} if events else {})


def ended(delivery: Call) -> bool:
    return delivery.prediction["status"] in TERMINAL


def told(receiver: Receiver, path: str) -> list[Call]:
    """All that came to a path up to the end of its prediction."""
    return receiver.came(path, lambda came: any(map(ended, came)))


def test_G1_the_end_is_told_once(caller: Api, receiver: Receiver, greets: str):
    asked = order(greets, {"name": "hook"}, f"{receiver.url}/g1", ["completed"])
    created = caller.post("/v1/predictions", json=asked)
    assert created.status_code == 201, created.text
    (delivery,) = told(receiver, "/g1")
    assert delivery.prediction["id"] == created.json()["id"]
    assert (delivery.prediction["status"], delivery.prediction["output"]) == ("succeeded", "hello hook")
    assert delivery.headers["content-type"].startswith("application/json")
    # A later one that has come, too, shows that no second delivery of the first was on its way before it.
    caller.post("/v1/predictions", json=order(greets, {}, f"{receiver.url}/g1-later", ["completed"]))
    told(receiver, "/g1-later")
    assert len({delivery.headers["webhook-id"] for delivery in receiver.at("/g1")}) == 1 == len(receiver.at("/g1"))


def test_G2_without_a_filter_output_and_the_end_are_told(caller: Api, receiver: Receiver, words: str):
    caller.run(words, {})
    caller.post("/v1/predictions", json=order(words, {"text": "a b c d e f", "delay": 0.3}, f"{receiver.url}/g2"))
    deliveries = told(receiver, "/g2")
    # Deliveries may overtake one another, as at Replicate: what they tell is in order by what they have of the output.
    [last] = [delivery for delivery in deliveries if ended(delivery)]
    before = [delivery for delivery in deliveries if delivery is not last]
    assert "".join(last.prediction["output"]) == "a b c d e f"
    assert before and all(delivery.prediction["status"] == "processing" and delivery.prediction["output"] for delivery in before)
    lengths = sorted(len(delivery.prediction["output"]) for delivery in before)
    assert lengths == sorted(set(lengths))
    # At most one in half a second, over less than two and a half.
    assert len(before) <= 5


def test_G3_the_start_is_told_if_it_is_asked_for(caller: Api, receiver: Receiver, greets: str):
    caller.post("/v1/predictions", json=order(greets, {"delay_ms": 300}, f"{receiver.url}/g3", ["start", "completed"]))
    first, *_, last = receiver.came("/g3", lambda came: len(came) >= 2 and any(map(ended, came)))
    assert first.prediction["status"] in ("starting", "processing") and ended(last)
    assert len(receiver.at("/g3")) == 2


def test_G5_both_clients_accept_the_signature_and_refuse_a_changed_body(caller: Api, receiver: Receiver, greets: str):
    caller.post("/v1/predictions", json=order(greets, {"name": "naïve 🙂"}, f"{receiver.url}/g5", ["completed"]))
    (delivery,) = told(receiver, "/g5")
    body = delivery.body
    forged = body.replace("hello", "hallo")
    assert forged != body
    assert node("validate.mjs", caller, [{"headers": delivery.headers, "body": one} for one in (body, forged)]) == [True, False]
    secret = replicate.Client(api_token=caller.token, base_url=caller.url).webhooks.default.secret()
    Webhooks.validate(headers=delivery.headers, body=body, secret=secret, tolerance=60)
    with pytest.raises(InvalidSignatureError):
        Webhooks.validate(headers=delivery.headers, body=forged, secret=secret)


def test_G9_the_secret_stays_the_same_and_is_as_clients_read_it(telling: Server, caller: Api):
    keys = [caller.get("/v1/webhooks/default/secret").json()["key"] for _ in range(2)]
    assert keys[0] == keys[1]
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]+=*", keys[0]) and len(base64.b64decode(keys[0].removeprefix("whsec_"), validate=True)) >= 24
    other = telling.api(telling.account("another-endpoint")).get("/v1/webhooks/default/secret").json()["key"]
    assert other != keys[0]


@pytest.mark.parametrize("hook", ["http://127.0.0.1:9/x", "http://169.254.169.254/latest", "http://[::ffff:10.0.0.1]/", "ftp://example.com/"])
def test_G10_a_hook_inside_of_the_house_is_refused_unless_the_operator_allows_it(api: Api, published: Publish, hook: str):
    latest = lambda: [one["id"] for one in api.get("/v1/predictions").json()["results"][:1]]
    before = latest()
    answer = api.post("/v1/predictions", json=order(published("echo"), {"text": "x"}, hook))
    assert problem(answer, 422)["invalid_fields"][0]["field"] == "webhook"
    assert latest() == before
