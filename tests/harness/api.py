"""The HTTP API as plainly as it can be asked: httpx with a base address and a token."""

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import httpx

from harness.wait import until

TERMINAL = {"succeeded", "failed", "canceled"}
# Longer than the server ever holds a request.
READ_SECONDS_MAX = 90


class Event(NamedTuple):
    """One server-sent event; a keep-alive comment is one named ``:``."""

    id: str
    name: str
    data: str


class Api(httpx.Client):
    """A caller with a token."""

    def __init__(self, url: str, token: str | None):
        self.url = url
        self.token = token
        headers = {"authorization": f"Bearer {token}"} if token else {}
        super().__init__(base_url=url, headers=headers, timeout=READ_SECONDS_MAX, limits=httpx.Limits(max_connections=200))

    def create(self, version: str, input: dict, **more: object) -> dict:
        """Creates a prediction and does not wait for it."""
        answer = self.post("/v1/predictions", json={"version": version, "input": input}, **more)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def run(self, version: str, input: dict, seconds: float = 300) -> dict:
        """Creates a prediction and waits for its end, whatever that is. Its files are addresses, as in every answer but the awaited one."""
        return self.ended(self.create(version, input, headers={"prefer": "wait"})["id"], seconds)

    def prediction(self, id: str) -> dict:
        answer = self.get(f"/v1/predictions/{id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, id: str, seconds: float = 300) -> dict:
        """The prediction once it is terminal."""

        def prediction_has_ended() -> dict | None:
            prediction = self.prediction(id)
            return prediction if prediction["status"] in TERMINAL else None

        return until(prediction_has_ended, seconds)

    def running(self, id: str, said: str, seconds: float = 300) -> dict:
        """The prediction once its model has printed `said`."""

        def model_has_said_so() -> dict | None:
            prediction = self.prediction(id)
            assert prediction["status"] not in TERMINAL, prediction
            return prediction if said in prediction["logs"] else None

        return until(model_has_said_so, seconds)

    def started(self, id: str, seconds: float = 300) -> dict:
        """The prediction once it is no longer waiting."""

        def prediction_has_started() -> dict | None:
            prediction = self.prediction(id)
            return prediction if prediction["status"] != "starting" else None

        return until(prediction_has_started, seconds)

    def cancel(self, id: str) -> dict:
        answer = self.post(f"/v1/predictions/{id}/cancel")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def balance(self) -> Decimal:
        """The credit that is neither spent nor held."""
        return Decimal(self.get("/v1/account/balance").json()["available"])

    def upload(self, name: str, content: bytes, content_type: str = "application/octet-stream") -> dict:
        answer = self.post("/v1/files", files={"content": (name, content, content_type)})
        assert answer.status_code == 201, answer.text
        return answer.json()


def events(url: str, last_event_id: str | None = None) -> Iterator[Event]:
    """Reads a stream to its end, without any token, as released clients do."""
    headers = {"accept": "text/event-stream"} | ({"last-event-id": last_event_id} if last_event_id else {})
    with httpx.stream("GET", url, headers=headers, timeout=READ_SECONDS_MAX) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream"
        id = name = ""
        data: list[str] = []
        for line in answer.iter_lines():
            if line.startswith(":"):
                yield Event("", ":", line[1:])
            elif not line:
                if name or data:
                    yield Event(id, name, "\n".join(data))
                name, data = "", []
            else:
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                match field:
                    case "id":
                        id = value
                    case "event":
                        name = value
                    case "data":
                        data.append(value)


def timed_events(url: str) -> Iterator[tuple[float, Event]]:
    """The same with the moment at which each came."""
    return ((time.monotonic(), event) for event in events(url))


def told_of(url: str) -> list[Event]:
    """The whole stream without its keep-alive comments."""
    return [event for event in events(url) if event.name != ":"]


def output_of(stream: list[Event]) -> str:
    return "".join(event.data for event in stream if event.name == "output")


def problem(answer: httpx.Response, status: int) -> dict:
    """Checks that an answer is a problem as the API tells them, and returns it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = json.loads(answer.text)
    assert told["status"] == status and isinstance(told["detail"], str) and told["detail"], told
    return told
