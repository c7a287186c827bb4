"""OpenAI's routes with plain HTTP: shapes, streams, errors, the bill, and what happens to one whose caller leaves."""

import json
from collections.abc import Callable

import httpx
import pytest

from harness.api import Api
from harness.wait import until

ROOT = "/openai/v1"
DOZEN = [{"role": "user", "content": "one two three four five six seven eight nine ten eleven"}]
Publish = Callable[[str], str]


@pytest.fixture(scope="module")
def model(published: Publish) -> str:
    published("repeats")
    return "feira/repeats"


def chat(api: Api, model: str, messages: list[dict], **more: object) -> httpx.Response:
    headers = more.pop("headers", {})
    return api.post(f"{ROOT}/chat/completions", json={"model": model, "messages": messages, **more}, headers=headers)


def chunks(answer: httpx.Response) -> list[dict]:
    """The data of a stream, which ends as it must."""
    assert answer.headers["content-type"] == "text/event-stream"
    data = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
    assert data[-1] == "[DONE]", data
    return [json.loads(each) for each in data[:-1]]


def error(answer: httpx.Response, status: int, code: str | None = None) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()["error"]
    assert set(told) == {"message", "type", "param", "code"} and told["message"], told
    assert code is None or told["code"] == code, told
    return told


def test_a_chat_is_answered_and_its_usage_is_the_bill(api: Api, model: str):
    answer = chat(api, model, [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "hello"}]}])
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["object"] == "chat.completion" and told["model"] == model
    assert told["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "system: Be brief. / user: hello", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    prediction = api.prediction(answer.headers["x-feira-prediction"])
    assert told["id"] == f"chatcmpl-{prediction['id']}"
    assert prediction["input"] == {"system_prompt": "Be brief.", "prompt": "hello"}
    assert "".join(prediction["output"]) == told["choices"][0]["message"]["content"]
    billed = {line["meter"]: int(line["quantity"]) for line in prediction["cost_lines"]}
    assert billed == {"prompt_tokens": told["usage"]["prompt_tokens"], "completion_tokens": told["usage"]["completion_tokens"]}
    assert told["usage"]["total_tokens"] == sum(billed.values())
    assert told["feira"] == {"prediction": prediction["id"], "cost": prediction["cost"]}


def test_a_conversation_keeps_its_turns(api: Api, model: str):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    told = chat(api, model, turns).json()
    assert told["choices"][0]["message"]["content"] == "user: a / assistant: b / user: c"


def test_an_answer_that_was_cut_says_so(api: Api, model: str):
    for parameter in ("max_tokens", "max_completion_tokens"):
        told = chat(api, model, DOZEN, **{parameter: 2}).json()
        assert (told["choices"][0]["finish_reason"], told["usage"]["completion_tokens"]) == ("length", 2)


def test_a_stream_joins_to_the_output_of_the_prediction(api: Api, model: str):
    answer = chat(api, model, DOZEN, stream=True, stream_options={"include_usage": True})
    first, *middle, last, usage = chunks(answer)
    assert first["choices"][0]["delta"]["role"] == "assistant" and first["object"] == "chat.completion.chunk"
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert len({chunk["id"] for chunk in (first, *middle, last, usage)}) == 1
    prediction = api.prediction(answer.headers["x-feira-prediction"])
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in middle) == "".join(prediction["output"])
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == prediction["metrics"]["output_token_count"]
    assert usage["feira"]["cost"] == prediction["cost"]


def test_a_stream_comes_while_the_model_runs(api: Api, model: str):
    body = {"model": model, "messages": DOZEN, "stream": True, "delay": 0.2}
    with api.stream("POST", f"{ROOT}/chat/completions", json=body) as answer:
        # Held on to: an iterator that is dropped closes the stream.
        lines = answer.iter_lines()
        while '"content":"user:"' not in next(lines):
            pass
        assert api.prediction(answer.headers["x-feira-prediction"])["status"] == "processing"


def test_a_completion_is_text(api: Api, model: str):
    body = {"model": model, "prompt": "a b"}
    told = api.post(f"{ROOT}/completions", json=body).json()
    assert (told["object"], told["choices"][0]["text"], told["choices"][0]["finish_reason"]) == ("text_completion", "user: a b", "stop")
    streamed = chunks(api.post(f"{ROOT}/completions", json={**body, "stream": True}))
    assert "".join(chunk["choices"][0]["text"] for chunk in streamed) == "user: a b"


def test_whoever_leaves_a_stream_cancels_it_and_pays_for_what_came(api: Api, model: str):
    body = {"model": model, "messages": DOZEN, "stream": True, "delay": 0.5}
    with httpx.Client(base_url=api.url, headers=api.headers) as client:
        with client.stream("POST", f"{ROOT}/chat/completions", json=body) as answer:
            next(line for line in answer.iter_lines() if '"content":" one"' in line)
            id = answer.headers["x-feira-prediction"]
    ended = api.ended(id, 5)
    assert ended["status"] == "canceled"
    assert 2 <= len(ended["output"]) < 12
    assert [(line["meter"], int(line["quantity"])) for line in ended["cost_lines"]] == [("completion_tokens", len(ended["output"]))]


@pytest.mark.parametrize("key", [None, "kept"])
def test_whoever_leaves_a_plain_call_cancels_it_unless_it_has_a_key(api: Api, model: str, key: str | None):
    body = {"model": model, "messages": [{"role": "user", "content": f"leaving {key} slowly"}], "delay": 0.7}
    headers = {"idempotency-key": key} if key else {}
    with pytest.raises(httpx.ReadTimeout):
        api.post(f"{ROOT}/chat/completions", json=body, headers=headers, timeout=1)

    def listed() -> dict | None:
        mine = [each for each in api.get("/v1/predictions").json()["results"] if each["input"].get("prompt") == f"leaving {key} slowly"]
        return mine[0] if mine and mine[0]["completed_at"] else None

    assert until(listed, 10)["status"] == ("succeeded" if key else "canceled")
    if key:
        again = api.post(f"{ROOT}/chat/completions", json=body, headers=headers)
        assert again.json()["choices"][0]["message"]["content"] == "user: leaving kept slowly"
        assert again.headers["x-feira-prediction"] == listed()["id"]
        streamed = {**body, "stream": True}
        error(api.post(f"{ROOT}/chat/completions", json=streamed, headers=headers), 409, "idempotency_key_reused")


def test_errors_have_openais_shape(api: Api, model: str, published: Publish):
    published("echo")
    error(Api(api.url, "fe_wrong").post(f"{ROOT}/chat/completions", json={}), 401, "invalid_api_key")
    error(chat(api, "feira/nothing", DOZEN), 404, "model_not_found")
    assert "does not speak" in error(chat(api, "feira/echo", DOZEN), 404, "model_not_found")["message"]
    assert error(chat(api, model, []), 400, "invalid_value")["param"] == "messages"
    assert error(chat(api, model, DOZEN, temperature=3), 400)["param"] == "temperature"
    assert error(chat(api, model, DOZEN, max_completion_tokens=9_999), 400)["param"] == "max_completion_tokens"
    assert error(chat(api, model, DOZEN, tools=[{"type": "function"}]), 400, "unsupported_parameter")["param"] == "tools"
    assert error(chat(api, model, DOZEN, n=2), 400, "unsupported_parameter")["param"] == "n"
    assert error(api.post(f"{ROOT}/embeddings", json={"model": model, "input": "a"}), 400, "unsupported_model")["param"] == "model"
    error(api.post(f"{ROOT}/chat/completions", content=b"{"), 400, "bad_request")
    error(api.post(f"{ROOT}/images/generations", json={}), 404, "not_found")
    error(api.get(f"{ROOT}/chat/completions"), 405, "method_not_allowed")


def test_what_the_model_refuses_is_the_callers_and_what_breaks_is_its_own(api: Api, model: str):
    for stream in (False, True):
        told = error(chat(api, model, [{"role": "user", "content": "too long"}], stream=stream), 400, "input_refused")
        assert told["message"] == "the context window is exceeded"
        broken = chat(api, model, [{"role": "user", "content": "break"}], stream=stream)
        assert error(broken, 502, "model_error")["message"] == "out of order"
        assert broken.headers["x-should-retry"] == "false"


def test_a_failure_in_the_middle_of_a_stream_is_its_last_event(api: Api, model: str):
    answer = chat(api, model, [{"role": "user", "content": "begin and break"}], stream=True)
    assert answer.status_code == 200
    data = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
    assert json.loads(data[-1])["error"]["message"] == "out of order"
    assert api.ended(answer.headers["x-feira-prediction"])["status"] == "failed"


def test_the_models_that_declare_it_are_listed_and_found(api: Api, model: str, published: Publish):
    published("echo")
    listed = api.get(f"{ROOT}/models").json()
    ids = [each["id"] for each in listed["data"]]
    assert listed["object"] == "list" and model in ids and "feira/echo" not in ids
    for path in (model, model.replace("/", "%2F")):
        found = api.get(f"{ROOT}/models/{path}").json()
        assert (found["id"], found["object"], found["owned_by"]) == (model, "model", "feira")
    version = api.get(f"{ROOT}/models/{model}").json()["feira"]["version"]
    pinned = chat(api, f"{model}:{version}", DOZEN).json()
    assert pinned["model"] == f"{model}:{version}"
    error(api.get(f"{ROOT}/models/feira/nothing"), 404, "model_not_found")


def test_an_account_without_credit_is_told_so(api: Api, server, model: str):
    server.feira("account", "create", "poor")
    token = json.loads(server.feira("token", "create", "--account", "poor", "--name", "t", "--json").stdout)["token"]
    told = error(chat(server.api(token), model, DOZEN), 429, "insufficient_quota")
    assert told["type"] == "insufficient_quota"
