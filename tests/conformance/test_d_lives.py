"""Rows D: from starting to the end, what the lists show of it, and what is forgotten."""

from collections.abc import Callable
from datetime import datetime

import httpx

from harness.api import TERMINAL, Api, problem
from harness.processes import alive, descendants
from harness.projects import project
from harness.server import Server
from harness.wait import until

Publish = Callable[[str], str]
RANK = {"starting": 0, "processing": 1, "succeeded": 2, "failed": 2, "canceled": 2}
# What a cancel may take until the model has stopped its work.
CANCEL_SECONDS_MAX = 2
FORGOTTEN_SECONDS_MAX = 30


def moments(prediction: dict) -> list[datetime]:
    return [datetime.fromisoformat(prediction[name]) for name in ("created_at", "started_at", "completed_at")]


def listed(api: Api, **only: str) -> list[dict]:
    answer = api.get("/v1/predictions", params=only)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def test_D1_states_only_go_forward_and_times_are_in_order(api: Api, published: Publish):
    id = api.create(published("sleepy"), {"seconds": 0.5})["id"]
    seen = [api.prediction(id)["status"]]
    while RANK[seen[-1]] < 2:
        seen.append(api.prediction(id)["status"])
    assert [RANK[status] for status in seen] == sorted(RANK[status] for status in seen)
    assert "processing" in seen and seen[-1] == "succeeded"
    ended = api.prediction(id)
    assert moments(ended) == sorted(moments(ended))


def test_D2_what_has_ended_is_measured(api: Api, published: Publish):
    for version, input, least in [(published("sleepy"), {"seconds": 0.3}, 0.3), (published("predict-raises"), {}, 0)]:
        metrics = api.run(version, input)["metrics"]
        assert least <= metrics["predict_time"] <= metrics["total_time"]


def test_D3_an_unknown_prediction_and_one_of_another_account_answer_alike(server: Server, api: Api, published: Publish):
    id = api.create(published("echo"), {"text": "mine"})["id"]
    stranger = server.api(server.account("curious"))
    told = [problem(stranger.get(f"/v1/predictions/{one}"), 404) for one in ("nope", "0" * 26, id)]
    assert told[0] == told[1] == told[2]
    problem(stranger.post(f"/v1/predictions/{id}/cancel"), 404)
    assert listed(stranger) == []
    assert api.ended(id)["status"] == "succeeded"


def test_D4_a_waiting_prediction_is_cancelled_at_no_cost(api: Api, published: Publish):
    sleepy = published("sleepy")
    first = api.create(sleepy, {"seconds": 60})["id"]
    api.running(first, "asleep")
    # However many instances there may be, the last of so many waits.
    waiting = [api.create(sleepy, {"seconds": 60})["id"] for _ in range(12)]
    assert api.prediction(waiting[-1])["status"] == "starting"
    last = api.cancel(waiting.pop())
    assert (last["status"], last["cost"], last["started_at"]) == ("canceled", "0", None) and last["completed_at"]
    for id in [*waiting, first]:
        assert api.cancel(id)["status"] == "canceled"


def test_D5_a_running_prediction_is_cancelled_and_its_model_stops(server: Server, api: Api, published: Publish):
    sleepy = published("sleepy")
    api.run(sleepy, {"seconds": 0})
    id = api.create(sleepy, {"seconds": 60, "deaf": True})["id"]
    api.running(id, "asleep")
    before = descendants(server.process.pid)
    canceled = api.cancel(id)
    assert canceled["status"] == "canceled" and canceled["completed_at"]
    assert canceled["metrics"]["predict_time"] < 30
    assert api.cancel(id) == api.prediction(id) == canceled

    def the_process_that_did_not_hear_it_is_gone() -> bool:
        return not all(map(alive, before))

    until(the_process_that_did_not_hear_it_is_gone, CANCEL_SECONDS_MAX + 1)
    assert api.run(sleepy, {"seconds": 0})["output"] == "slept 0 s"


def test_D7_the_list_is_newest_first_in_pages_of_a_hundred(api: Api, published: Publish):
    echo = published("echo")
    created = [api.create(echo, {"text": str(n)})["id"] for n in range(105)]
    first = api.get("/v1/predictions").json()
    assert len(first["results"]) == 100 and first["previous"] is None
    assert first["next"].startswith(f"{api.url}/")
    second = api.get(first["next"]).json()
    assert second["previous"] is None or second["previous"].startswith(f"{api.url}/")
    both = first["results"] + second["results"]
    assert [one["id"] for one in both[:105]] == created[::-1]
    times = [prediction["created_at"] for prediction in both]
    assert times == sorted(times, reverse=True) and len({one["id"] for one in both}) == len(both)
    for id in created:
        api.ended(id)


def test_D9_the_list_is_cut_by_date(api: Api, published: Publish):
    first, second = (api.run(published("echo"), {"text": text}) for text in "ab")
    after = listed(api, created_after=second["created_at"])
    assert [one["id"] for one in after] == [second["id"]]
    assert listed(api, created_before=second["created_at"])[0]["id"] == first["id"]
    between = listed(api, created_after=first["created_at"], created_before=second["created_at"])
    assert [one["id"] for one in between] == [first["id"]]
    problem(api.get("/v1/predictions", params={"created_after": "yesterday"}), 400)


def test_D10_the_list_is_cut_to_runs_from_the_web(api: Api, published: Publish):
    order = {"version": published("echo"), "input": {"text": "w"}}
    id = api.post("/v1/predictions", json=order, headers={"feira-source": "web"}).json()["id"]
    api.ended(id)
    from_web = listed(api, source="web")
    assert from_web[0]["id"] == id and {one["source"] for one in from_web} == {"web"}
    problem(api.get("/v1/predictions", params={"source": "moon"}), 400)


def test_D12_after_the_retention_time_only_what_happened_is_kept(forgetful: Server):
    api = forgetful.api()
    version = f"feira/files:{forgetful.push(project('files'), 'feira/files')['id']}"
    file = api.upload("in.txt", b"keep me" * 100_000, "text/plain")
    ended = api.ended(api.create(version, {"file": file["urls"]["get"]})["id"])
    assert httpx.get(ended["output"]).status_code == 200

    def data_is_removed() -> dict | None:
        prediction = api.prediction(ended["id"])
        return prediction if prediction["data_removed"] else None

    kept = until(data_is_removed, FORGOTTEN_SECONDS_MAX)
    assert kept["output"] is None and "file" not in (kept["input"] or {}) and not kept["logs"]
    assert kept["status"] in TERMINAL
    for name in ("id", "status", "model", "version", "metrics", "cost", "created_at", "started_at", "completed_at"):
        assert kept[name] == ended[name], name

    def its_file_is_gone() -> bool:
        return httpx.get(ended["output"]).status_code == 404

    until(its_file_is_gone, FORGOTTEN_SECONDS_MAX)
