"""Rows E: `Cancel-After`."""

from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime

import pytest

from harness.api import Api, problem

Publish = Callable[[str], str]


def seconds_between(prediction: dict, earlier: str, later: str) -> float:
    return (datetime.fromisoformat(prediction[later]) - datetime.fromisoformat(prediction[earlier])).total_seconds()


def test_E1_a_running_prediction_ends_at_its_deadline(deadline_while_running: Future):
    created, ended = deadline_while_running.result(30)
    assert seconds_between(created, "created_at", "deadline") == 5
    assert ended["status"] == "canceled" and ended["deadline"] == created["deadline"]
    assert 5 <= seconds_between(ended, "created_at", "completed_at") <= 7


@pytest.mark.parametrize("asked", ["1s", "0", "4", "-5s", "soon", "5 minutes", "5s 1h"])
def test_E3_a_deadline_below_five_seconds_or_of_another_form_is_refused(api: Api, published: Publish, asked: str):
    order = {"version": published("echo"), "input": {"text": "x"}}
    told = problem(api.post("/v1/predictions", json=order, headers={"cancel-after": asked}), 422)
    assert "Cancel-After" in told["detail"] and "5 seconds" in told["detail"]


@pytest.mark.parametrize(("asked", "seconds"), [("5", 5), ("30s", 30), ("5m", 300), ("1h30m45s", 5445)])
def test_E3_every_documented_form_of_a_deadline_is_taken(api: Api, published: Publish, asked: str, seconds: int):
    created = api.create(published("echo"), {"text": "x"}, headers={"cancel-after": asked})
    assert seconds_between(created, "created_at", "deadline") == seconds
    assert api.ended(created["id"])["status"] == "succeeded"


def test_E4_a_waiting_prediction_ends_at_its_deadline_in_a_status_that_clients_know(deadline_while_queued: Future):
    created, ended = deadline_while_queued.result(40)
    assert seconds_between(ended, "created_at", "completed_at") <= 7
    assert (ended["id"], ended["status"], ended["started_at"], ended["cost"]) == (created["id"], "canceled", None, "0")
