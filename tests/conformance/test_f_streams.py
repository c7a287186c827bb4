"""Rows F: server-sent events."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from harness.api import Api, output_of, told_of
from harness.javascript import node

Publish = Callable[[str], str]
# What would be an event of its own if it were taken as it is.
TRICKY = "event: done data: {} id: 7 : comment naïve 🙂 data:"
PING_SECONDS_MAX = 15


@pytest.fixture(scope="module")
def words(published: Publish) -> str:
    return published("stream-words")


def test_F1_a_stream_opens_without_a_token(api: Api, words: str):
    url = api.create(words, {"text": "one two three", "delay": 0.05})["urls"]["stream"]
    with httpx.stream("GET", url, headers={"accept": "text/event-stream"}) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
        answer.read()
    assert answer.text.endswith("\n\n")


def test_F3_a_stream_has_only_the_four_events_and_joins_to_the_output(api: Api, words: str):
    created = api.create(words, {"text": TRICKY, "delay": 0.02})
    stream = told_of(created["urls"]["stream"])
    assert {event.name for event in stream} == {"output", "done"}
    assert output_of(stream) == TRICKY == "".join(api.ended(created["id"])["output"])


def test_F3_logs_are_events_too(api: Api, published: Publish):
    created = api.create(published("sleepy"), {"seconds": 0.1})
    stream = told_of(created["urls"]["stream"])
    assert {event.name for event in stream} == {"logs", "output", "done"}
    assert "asleep" in "".join(event.data for event in stream if event.name == "logs")


def test_F5_a_silent_model_keeps_its_readers_with_comments(silent_minute):
    came = silent_minute.by_hand.result(90)
    moments = [moment for moment, _ in came]
    assert moments[-1] - moments[0] > 60
    assert max(later - earlier for earlier, later in zip(moments, moments[1:], strict=False)) <= PING_SECONDS_MAX + 0.5
    assert [event.name for _, event in came].count(":") >= 4
    stream = silent_minute.by_client.result(30)
    assert [event.event.value for event in stream] == ["logs", "output", "done"]


def test_F6_an_end_in_success_is_told(api: Api, words: str):
    *_, last = told_of(api.create(words, {})["urls"]["stream"])
    assert (last.name, last.data) == ("done", "{}")


def test_F6_a_failure_is_an_error_and_then_the_end(api: Api, published: Publish):
    *_, error, last = told_of(api.create(published("predict-raises"), {"message": "boom"})["urls"]["stream"])
    assert error.name == "error" and "boom" in json.loads(error.data)["detail"]
    assert (last.name, json.loads(last.data)) == ("done", {"reason": "error"})


def test_F6_a_cancel_is_told_as_the_reason_of_the_end(api: Api, published: Publish):
    created = api.create(published("sleepy"), {"seconds": 60})
    api.running(created["id"], "asleep")
    api.cancel(created["id"])
    *_, last = told_of(created["urls"]["stream"])
    assert (last.name, json.loads(last.data)) == ("done", {"reason": "canceled"})


def test_F7_one_who_comes_late_gets_the_whole_history(api: Api, words: str):
    created = api.create(words, {"text": TRICKY, "delay": 0.02})
    in_time = told_of(created["urls"]["stream"])
    api.ended(created["id"])
    assert told_of(created["urls"]["stream"]) == in_time
    assert [event.name for event in in_time].count("done") == 1 and in_time[-1].name == "done"


def test_F11_a_stream_of_files_says_so_in_its_path_and_javascript_reads_files(api: Api, published: Publish, tmp_path: Path):
    frames = published("frames")
    created = api.create(frames, {"count": 2})
    assert created["urls"]["stream"].startswith(f"{api.url}/v1/files/")
    outputs = [event.data for event in told_of(created["urls"]["stream"]) if event.name == "output"]
    assert [httpx.get(url).text for url in outputs] == ["frame 0", "frame 1"]
    assert node("frames.mjs", api, {"version": frames, "count": 3}) == ["FileOutput frame 0", "FileOutput frame 1", "FileOutput frame 2"]
