"""Cancelling, and cursors."""

from collections.abc import Callable

import pytest

from harness.api import Api, problem

Publish = Callable[[str], str]


def test_a_running_prediction_is_cancelled_and_stays_so(api: Api, published: Publish):
    id = api.create(published("sleepy"), {"seconds": 60})["id"]
    api.running(id, "asleep")
    canceled = api.cancel(id)
    assert canceled["status"] == "canceled" and canceled["completed_at"]
    assert canceled["metrics"]["predict_time"] < 30
    assert api.cancel(id) == api.prediction(id) == canceled


def test_cancelling_what_has_ended_changes_nothing(api: Api, published: Publish):
    ended = api.run(published("echo"), {"text": "done"})
    assert api.cancel(ended["id"]) == ended == api.prediction(ended["id"])


@pytest.mark.parametrize("cursor", ["x", "cD0yMDIw", "…"])
def test_a_cursor_that_is_not_ours_is_refused(api: Api, cursor: str):
    assert "first page" in problem(api.get("/v1/predictions", params={"cursor": cursor}), 400)["detail"]
