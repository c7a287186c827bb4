"""Creating predictions from bodies that are none."""

from collections.abc import Callable

import pytest

from harness.api import Api, problem

Publish = Callable[[str], str]


@pytest.fixture(scope="module")
def echo(published: Publish) -> str:
    return published("echo")


@pytest.mark.parametrize("body", [b"", b"{", b"[1, 2]", b'"text"', b"\xff\xfe", b'{"version": "feira/echo", "input": {"text": "a"}}}'])
def test_malformed_json_is_a_problem_and_no_prediction(api: Api, echo: str, body: bytes):
    before = api.get("/v1/predictions").json()["results"]
    answer = api.post("/v1/predictions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code)
    assert [one["id"] for one in api.get("/v1/predictions").json()["results"]] == [one["id"] for one in before]
