"""Webhooks: what is told, to whom, how it is signed, and what happens when nobody hears it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from replicate.webhook import InvalidSignatureError, WebhookSigningSecret, Webhooks

from harness.api import TERMINAL, Api, problem
from harness.projects import project
from harness.receiver import Call, Receiver
from harness.server import Server
from harness.wait import until


Publish = Callable[[str], str]


class Told(Server):
    """A server that may call this machine, with two models on it."""

    versions: dict[str, str]

    def publish(self) -> None:
        self.versions = {name: f"feira/{name}:{self.push(project(name), f'feira/{name}')['id']}" for name in ("echo", "stream-words")}


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    database = request.config.getoption("--database-url")
    options = ["--database-url", database] if database else []
    with Told(tmp_path_factory.mktemp("webhooks"), "--webhook-private", *options) as server:
        server.publish()
        yield server
        print(server.log_tail())


def create(api: Api, version: str, input: dict, **more: object) -> dict:
    answer = api.post("/v1/predictions", json={"version": version, "input": input, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def deliveries(api: Api, prediction: str) -> list[dict]:
    answer = api.get("/v1/webhooks/deliveries", params={"prediction": prediction})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def settled(api: Api, prediction: str, seconds: float = 30) -> dict:
    """The delivery of a prediction's end, once it is over."""

    def delivery_is_over() -> dict | None:
        ends = [one for one in deliveries(api, prediction) if one["event"] == "completed" and one["state"] != "pending"]
        return ends[0] if ends else None

    return until(delivery_is_over, seconds)


def secret(api: Api) -> str:
    return api.get("/v1/webhooks/default/secret").json()["key"]


def is_signed(call: Call, key: str) -> bool:
    """As the released client checks it."""
    try:
        Webhooks.validate(headers=call.headers, body=call.body, secret=WebhookSigningSecret(key=key))
    except InvalidSignatureError:
        return False
    return True


def test_the_end_is_told_as_get_shows_it(told: Told):
    api = told.api()
    with Receiver() as receiver:
        created = create(api, told.versions["echo"], {"text": "a"}, webhook=receiver.url, webhook_events_filter=["completed"])
        assert (created["webhook"], created["webhook_events_filter"]) == (receiver.url, ["completed"])
        (call,) = receiver.received(1)
        assert settled(api, created["id"])["state"] == "delivered"
        assert call.prediction == api.prediction(created["id"])
        assert call.prediction["status"] in TERMINAL
        assert call.headers["content-type"] == "application/json" and call.headers["user-agent"].startswith("Feira-Webhooks/")
        assert len(receiver.calls) == 1


def test_output_is_told_at_most_twice_a_second(told: Told):
    api = told.api()
    words = " ".join("w" * 40)
    with Receiver() as receiver:
        created = create(api, told.versions["stream-words"], {"text": words, "delay": 0.05}, webhook=receiver.url)
        assert settled(api, created["id"])["state"] == "delivered"
        # Two seconds of output.
        assert 2 <= len(receiver.calls) <= 8


def test_the_older_field_asks_for_the_end(told: Told):
    api = told.api()
    with Receiver() as receiver:
        created = create(api, told.versions["echo"], {"text": "a"}, webhook_completed=receiver.url)
        assert receiver.received(1)[0].prediction["id"] == created["id"]


def test_a_signature_holds_for_its_body_and_its_secret_alone(told: Told):
    api = told.api()
    key = secret(api)
    assert key == secret(api) and key.startswith("whsec_") and key.count("_") == 1
    with Receiver() as receiver:
        create(api, told.versions["echo"], {"text": "signed é \u0000"}, webhook=receiver.url)
        (call,) = receiver.received(1)
        assert is_signed(call, key)
        assert not is_signed(call._replace(body=call.body + " "), key)
        assert not is_signed(call, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")


def test_an_end_that_is_not_heard_is_told_again_with_the_same_id(told: Told):
    api = told.api()
    answers = iter([500, 500, 200])
    with Receiver(lambda: next(answers)) as receiver:
        created = create(api, told.versions["echo"], {"text": "a"}, webhook=receiver.url)
        delivery = settled(api, created["id"])
        assert delivery["state"] == "delivered" and [one["status"] for one in delivery["attempts"]] == [500, 500, 200]
        assert len({(call.headers["webhook-id"], call.body) for call in receiver.calls}) == 1
        assert receiver.calls[0].headers["webhook-id"] == delivery["id"]
        assert all(is_signed(call, secret(api)) for call in receiver.calls)


def test_an_endpoint_that_is_gone_is_not_called_again_until_that_is_asked_for(told: Told):
    api = told.api()
    answers = iter([410, 200])
    with Receiver(lambda: next(answers)) as receiver:
        created = create(api, told.versions["echo"], {"text": "a"}, webhook=receiver.url)
        delivery = settled(api, created["id"])
        assert (delivery["state"], len(delivery["attempts"])) == ("abandoned", 1)
        again = api.post(f"/v1/webhooks/deliveries/{delivery['id']}/redeliver")
        assert again.status_code == 202 and again.json()["state"] in ("pending", "delivered")
        first, second = receiver.received(2)
        assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
        assert is_signed(second, secret(api))
        shown = api.get(f"/v1/webhooks/deliveries/{delivery['id']}").json()
        assert shown["body"] == first.prediction and shown["url"] == receiver.url


def test_a_redirect_is_a_failure_and_is_not_followed(told: Told):
    api = told.api()
    with Receiver() as elsewhere, Receiver(lambda: 302, elsewhere.url) as receiver:
        created = create(api, told.versions["echo"], {"text": "a"}, webhook=receiver.url)
        receiver.received(2)
        (delivery,) = deliveries(api, created["id"])
        assert delivery["state"] == "pending" and delivery["next_try_at"]
        assert (delivery["last_status"], "redirect" in delivery["last_error"]) == (302, True)
        assert elsewhere.calls == []


def test_a_slow_receiver_holds_up_neither_its_predictions_nor_others(told: Told):
    api = told.api()
    with Receiver() as slow, Receiver() as quick:
        slow.gate.clear()
        for n in range(12):
            prediction = create(api, told.versions["echo"], {"text": str(n)}, webhook=slow.url)
            assert api.ended(prediction["id"], 30)["status"] == "succeeded"
        create(api, told.versions["echo"], {"text": "quick"}, webhook=quick.url)
        quick.received(1, 5)
        # No more than the endpoint's own places.
        assert len(slow.calls) <= 8


def test_the_log_is_its_accounts_own_and_its_cursors_are_checked(told: Told):
    api = told.api()
    with Receiver() as receiver:
        created = create(api, told.versions["echo"], {"text": "a"}, webhook=receiver.url)
        delivery = settled(api, created["id"])
    stranger = told.api(told.account("eve"))
    assert stranger.get("/v1/webhooks/deliveries").json()["results"] == []
    for id in (delivery["id"], "msg_" + "0" * 26, "nope"):
        problem(stranger.get(f"/v1/webhooks/deliveries/{id}"), 404)
        problem(stranger.post(f"/v1/webhooks/deliveries/{id}/redeliver"), 404)
    assert secret(stranger) != secret(api)
    assert "first page" in problem(api.get("/v1/webhooks/deliveries", params={"cursor": "x"}), 400)["detail"]
    problem(api.get("/v1/webhooks/deliveries", params={"prediction": "x"}), 400)
    assert 'feira_webhook_deliveries_total{outcome="delivered"}' in httpx.get(f"{told.url}/metrics").text


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/h", "http://[::1]/h", "http://169.254.169.254/", "http://0x7f.1/", "http://localhost/h"])
def test_a_private_address_is_refused_by_default_with_what_to_do(api: Api, published: Publish, url: str):
    """Conformance G10, on a server as it is installed."""
    before = api.get("/v1/predictions").json()["results"]
    refused = problem(api.post("/v1/predictions", json={"version": published("echo"), "input": {"text": "a"}, "webhook": url}), 422)
    assert refused["invalid_fields"][0]["field"] == "webhook" and "--webhook-private" in refused["detail"]
    assert [one["id"] for one in api.get("/v1/predictions").json()["results"]] == [one["id"] for one in before]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"webhook": "example.org"}, "format"),
        ({"webhook": "https://ada:x@example.org"}, "format"),
        ({"webhook": 7}, "invalid_type"),
        ({"webhook": "https://example.org", "webhook_events_filter": ["end"]}, "enum"),
        ({"webhook": "https://example.org", "webhook_events_filter": "end"}, "invalid_type"),
    ],
)
def test_a_webhook_that_cannot_be_meant_is_refused(api: Api, fields: dict, kind: str):
    refused = problem(api.post("/v1/predictions", json={"version": "feira/none", "input": {}, **fields}), 422)
    assert refused["invalid_fields"][0]["type"] == kind


def test_an_end_is_told_after_a_crash_of_the_server(tmp_path: Path):
    answers = iter([500])
    with Receiver(lambda: next(answers, 200)) as receiver, Told(tmp_path, "--webhook-private") as server:
        server.publish()
        created = create(server.api(), server.versions["echo"], {"text": "a"}, webhook=receiver.url)
        receiver.received(1)
        server.kill()
        server.start()
        delivery = settled(server.api(), created["id"], 60)
        assert delivery["state"] == "delivered"
        assert {call.headers["webhook-id"] for call in receiver.calls} == {delivery["id"]}
        # The addresses in it are those that its caller used.
        assert receiver.calls[-1].prediction["urls"]["get"] == f"{server.url}/v1/predictions/{created['id']}"
