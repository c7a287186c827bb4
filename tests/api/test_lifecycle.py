"""From starting to the end: states, lists, cancelling."""

from collections.abc import Callable
from datetime import datetime

import pytest

from harness.api import Api, problem
from harness.server import Server

Publish = Callable[[str], str]
RANK = {"starting": 0, "processing": 1, "succeeded": 2, "failed": 2, "canceled": 2}


def lasting(prediction: dict) -> dict:
    """All of it but the addresses: that of the stream is signed anew each time."""
    return prediction | {"urls": None}


def moments(prediction: dict) -> list[datetime]:
    return [datetime.fromisoformat(prediction[name]) for name in ("created_at", "started_at", "completed_at")]


def test_states_only_go_forward_and_times_are_in_order(api: Api, published: Publish):
    id = api.create(published("sleepy"), {"seconds": 0.5})["id"]
    seen = [api.prediction(id)["status"]]
    while RANK[seen[-1]] < 2:
        seen.append(api.prediction(id)["status"])
    assert [RANK[status] for status in seen] == sorted(RANK[status] for status in seen)
    assert "processing" in seen and seen[-1] == "succeeded"
    ended = api.prediction(id)
    assert moments(ended) == sorted(moments(ended))
    assert 0.5 <= ended["metrics"]["predict_time"] <= ended["metrics"]["total_time"]


def test_an_unknown_prediction_and_one_of_another_account_answer_alike(server: Server, api: Api, published: Publish):
    id = api.create(published("echo"), {"text": "mine"})["id"]
    stranger = server.api(server.account("curious"))
    told = [problem(stranger.get(f"/v1/predictions/{one}"), 404) for one in ("nope", "0" * 26, id)]
    assert told[0] == told[1] == told[2]
    problem(stranger.post(f"/v1/predictions/{id}/cancel"), 404)
    assert stranger.get("/v1/predictions").json()["results"] == []
    assert api.ended(id)["status"] == "succeeded"


def test_a_running_prediction_is_cancelled_and_stays_so(api: Api, published: Publish):
    id = api.create(published("sleepy"), {"seconds": 60})["id"]
    api.running(id, "asleep")
    canceled = api.cancel(id)
    assert canceled["status"] == "canceled" and canceled["completed_at"]
    assert canceled["metrics"]["predict_time"] < 30
    assert lasting(api.cancel(id)) == lasting(api.prediction(id)) == lasting(canceled)


def test_a_waiting_prediction_is_cancelled_at_no_cost(api: Api, published: Publish):
    sleepy = published("sleepy")
    first = api.create(sleepy, {"seconds": 60})["id"]
    api.running(first, "asleep")
    # One slot, and it is busy: all but the first wait.
    waiting = [api.create(sleepy, {"seconds": 60})["id"] for _ in range(12)]
    last = api.cancel(waiting.pop())
    assert (last["status"], last["cost"]) == ("canceled", "0") and last["completed_at"]
    for id in [*waiting, first]:
        assert api.cancel(id)["status"] == "canceled"


def test_cancelling_what_has_ended_changes_nothing(api: Api, published: Publish):
    ended = api.run(published("echo"), {"text": "done"})
    assert lasting(api.cancel(ended["id"])) == lasting(ended) == lasting(api.prediction(ended["id"]))


def test_the_list_is_newest_first_in_pages_of_a_hundred(api: Api, published: Publish):
    echo = published("echo")
    for n in range(105):
        api.create(echo, {"text": str(n)})
    first = api.get("/v1/predictions").json()
    assert len(first["results"]) == 100 and first["previous"] is None
    assert first["next"].startswith(api.url)
    second = api.get(first["next"]).json()
    listed = first["results"] + second["results"]
    times = [prediction["created_at"] for prediction in listed]
    assert times == sorted(times, reverse=True) and len({one["id"] for one in listed}) == len(listed)
    for prediction in listed[:105]:
        api.ended(prediction["id"])


def test_the_list_can_be_cut_by_date(api: Api, published: Publish):
    first, second = (api.run(published("echo"), {"text": text}) for text in "ab")
    after = api.get("/v1/predictions", params={"created_after": second["created_at"]}).json()["results"]
    assert [one["id"] for one in after] == [second["id"]]
    before = api.get("/v1/predictions", params={"created_before": second["created_at"]}).json()["results"]
    assert before[0]["id"] == first["id"]
    problem(api.get("/v1/predictions", params={"created_after": "yesterday"}), 400)


def test_the_list_can_be_cut_to_runs_from_the_web(api: Api, published: Publish):
    answer = api.post("/v1/predictions", json={"version": published("echo"), "input": {"text": "w"}}, headers={"feira-source": "web"})
    id = answer.json()["id"]
    api.ended(id)
    from_web = api.get("/v1/predictions", params={"source": "web"}).json()["results"]
    assert from_web[0]["id"] == id and {one["source"] for one in from_web} == {"web"}
    problem(api.get("/v1/predictions", params={"source": "moon"}), 400)


@pytest.mark.parametrize("cursor", ["x", "cD0yMDIw", "…"])
def test_a_cursor_that_is_not_ours_is_refused(api: Api, cursor: str):
    assert "first page" in problem(api.get("/v1/predictions", params={"cursor": cursor}), 400)["detail"]
