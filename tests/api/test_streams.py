"""Server-sent events: names, order, resuming, ends."""

from collections.abc import Callable

import httpx
import pytest

from harness.api import Api, events, output_of, problem

Publish = Callable[[str], str]
# Carriage returns, blank lines, and what would be an event of its own if it were taken as it is.
TRICKY = "event: done data: {} id: 7 : comment naïve 🙂 data:"


@pytest.fixture(scope="module")
def words(published: Publish) -> str:
    return published("stream-words")


def test_a_stream_needs_no_token_and_joins_to_the_output(api: Api, words: str):
    created = api.create(words, {"text": "one two three", "delay": 0.05})
    stream = [event for event in events(created["urls"]["stream"]) if event.name != ":"]
    assert {event.name for event in stream} <= {"output", "logs", "error", "done"}
    assert [event.data for event in stream if event.name == "output"] == ["one", " two", " three"]
    assert (stream[-1].name, stream[-1].data) == ("done", "{}")
    assert api.ended(created["id"])["output"] == ["one", " two", " three"]


def test_events_are_numbered_without_a_gap(api: Api, words: str):
    created = api.create(words, {})
    ids = [event.id for event in events(created["urls"]["stream"]) if event.name != ":"]
    numbers = [int(id.rpartition(":")[2]) for id in ids]
    assert numbers == list(range(1, len(numbers) + 1))


def test_one_who_comes_late_gets_the_whole_history(api: Api, words: str):
    ended = api.run(words, {"text": TRICKY})
    stream = list(events(ended["urls"]["stream"]))
    assert output_of(stream) == TRICKY == "".join(ended["output"])
    assert [event.name for event in stream].count("done") == 1 and stream[-1].name == "done"


def test_a_stream_resumes_after_the_last_event_that_was_seen(api: Api, words: str):
    for late in (False, True):
        created = api.create(words, {"text": "a b c d e", "delay": 0 if late else 0.1})
        if late:
            api.ended(created["id"])
        url = created["urls"]["stream"]
        whole = [event for event in events(url) if event.name != ":"]
        for seen in range(1, len(whole)):
            rest = [event for event in events(url, last_event_id=whole[seen - 1].id) if event.name != ":"]
            assert rest == whole[seen:]


def test_a_failure_is_an_error_event_and_then_the_end(api: Api, published: Publish):
    created = api.create(published("predict-raises"), {"message": "boom"})
    stream = [event for event in events(created["urls"]["stream"]) if event.name != ":"]
    assert stream[-2].name == "error" and "boom" in stream[-2].data
    assert (stream[-1].name, stream[-1].data) == ("done", '{"reason":"error"}')


def test_a_cancel_ends_the_stream_with_its_reason(api: Api, published: Publish):
    created = api.create(published("sleepy"), {"seconds": 60})
    api.running(created["id"], "asleep")
    api.cancel(created["id"])
    *_, last = events(created["urls"]["stream"])
    assert (last.name, last.data) == ("done", '{"reason":"canceled"}')


def test_a_silent_model_keeps_its_readers_with_a_comment(api: Api, published: Publish):
    sleepy = published("sleepy")
    api.run(sleepy, {"seconds": 0})
    created = api.create(sleepy, {"seconds": 16})
    assert ":" in [event.name for event in events(created["urls"]["stream"])]


def test_an_address_that_was_tampered_with_opens_nothing(api: Api, words: str):
    url = api.run(words, {})["urls"]["stream"]
    forged = url[:-2] + ("AA" if not url.endswith("AA") else "BB")
    answer = httpx.get(forged)
    assert answer.status_code in (401, 403, 404)
    problem(answer, answer.status_code)
