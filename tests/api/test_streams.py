"""Server-sent events: their order, resuming, forged addresses."""

from collections.abc import Callable

import httpx
import pytest

from harness.api import Api, events, problem

Publish = Callable[[str], str]


@pytest.fixture(scope="module")
def words(published: Publish) -> str:
    return published("stream-words")


def test_events_are_numbered_without_a_gap(api: Api, words: str):
    created = api.create(words, {})
    ids = [event.id for event in events(created["urls"]["stream"]) if event.name != ":"]
    numbers = [int(id.rpartition(":")[2]) for id in ids]
    assert numbers == list(range(1, len(numbers) + 1))


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


def test_an_address_that_was_tampered_with_opens_nothing(api: Api, words: str):
    url = api.run(words, {})["urls"]["stream"]
    forged = url[:-2] + ("AA" if not url.endswith("AA") else "BB")
    answer = httpx.get(forged)
    assert answer.status_code in (401, 403, 404)
    problem(answer, answer.status_code)
