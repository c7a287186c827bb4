"""PyPI's `openai` on the demo models, with `/openai/v1` as its base address."""

import base64
import math
import struct

import openai
import pytest

from harness.server import Server

CHAT = "feira/smol-chat"
EMBED = "feira/embed"
QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
SETTINGS = {"temperature": 0, "max_tokens": 32}


@pytest.fixture(scope="module")
def client(demo: Server) -> openai.OpenAI:
    return openai.OpenAI(api_key=demo.token, base_url=f"{demo.url}/openai/v1", max_retries=0)


def test_a_chat_is_completed(client: openai.OpenAI):
    answer = client.chat.completions.create(model=CHAT, messages=QUESTION, **SETTINGS)
    (choice,) = answer.choices
    assert "Paris" in choice.message.content and choice.message.role == "assistant"
    assert choice.finish_reason in ("stop", "length") and answer.model == CHAT
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_chat_is_streamed_with_its_usage_at_the_end(client: openai.OpenAI):
    stream = client.chat.completions.create(model=CHAT, messages=QUESTION, stream=True, stream_options={"include_usage": True}, **SETTINGS)
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) > 3 and "Paris" in "".join(pieces)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons[-1] in ("stop", "length") and not any(reasons[:-1])
    assert chunks[-1].usage.completion_tokens > 0 and len({chunk.id for chunk in chunks}) == 1


def test_a_chat_may_stop_at_a_word_and_is_a_prediction_with_a_bill(client: openai.OpenAI, demo: Server):
    api = demo.api()
    before = api.balance()
    answer = client.chat.completions.create(model=CHAT, messages=QUESTION, temperature=0, max_tokens=4)
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 4
    newest = api.get("/v1/predictions").json()["results"][0]
    assert newest["model"] == CHAT and newest["status"] == "succeeded"
    assert {line["meter"] for line in newest["cost_lines"]} == {"prompt_tokens", "completion_tokens"}
    assert api.balance() < before


def test_a_text_is_completed(client: openai.OpenAI):
    answer = client.completions.create(model=CHAT, prompt="The capital of France is", **SETTINGS)
    assert answer.choices[0].text and answer.usage.completion_tokens > 0
    pieces = [chunk.choices[0].text for chunk in client.completions.create(model=CHAT, prompt="One, two,", stream=True, **SETTINGS) if chunk.choices]
    assert len(pieces) > 1 and "".join(pieces)


def test_texts_are_embedded_in_their_order(client: openai.OpenAI):
    answer = client.embeddings.create(model=EMBED, input=["a small cat", "a kitten", "double-entry bookkeeping"])
    cat, kitten, ledger = (one.embedding for one in answer.data)
    assert [one.index for one in answer.data] == [0, 1, 2] and len(cat) == 384
    assert math.isclose(math.hypot(*cat), 1, abs_tol=1e-3)
    assert near(cat, kitten) > near(cat, ledger) + 0.2


def test_one_text_is_embedded_as_floats_or_as_base64(client: openai.OpenAI):
    floats = client.embeddings.create(model=EMBED, input="a cat", encoding_format="float").data[0].embedding
    packed = client.embeddings.create(model=EMBED, input="a cat", encoding_format="base64").data[0].embedding
    assert struct.unpack(f"<{len(floats)}f", base64.b64decode(packed)) == pytest.approx(floats, abs=1e-6)


def near(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_models_are_listed(client: openai.OpenAI):
    assert {CHAT, EMBED} <= {model.id for model in client.models.list()}
    assert client.models.retrieve(CHAT).owned_by == "feira"


def test_what_is_wrong_is_raised_as_the_kind_that_it_is(client: openai.OpenAI, demo: Server):
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="feira/nothing", messages=QUESTION)
    assert "feira/nothing" in unknown.value.message
    with pytest.raises((openai.BadRequestError, openai.UnprocessableEntityError)) as wrong:
        client.chat.completions.create(model=CHAT, messages=QUESTION, temperature=7)
    assert "temperature" in wrong.value.message
    stranger = openai.OpenAI(api_key="fe_" + "x" * 40, base_url=f"{demo.url}/openai/v1", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
