"""langchain-community's `Replicate`, unmodified: the environment says where to go, without /v1."""

import os

import pytest

from harness.server import Server

QUESTION = "What is the capital of France? Answer in one sentence."
SETTINGS = {"temperature": 0, "max_tokens": 32}


@pytest.fixture(scope="module", autouse=True)
def llm(demo: Server):
    os.environ |= {"REPLICATE_BASE_URL": demo.url, "REPLICATE_API_TOKEN": demo.token, "REPLICATE_POLL_INTERVAL": "0.05"}
    from langchain_community.llms import Replicate

    return Replicate


def pinned(demo: Server) -> str:
    return demo.api().get("/v1/models/feira/smol-chat").json()["latest_version"]["id"]


def test_a_model_answers(llm):
    assert "Paris" in llm(model="feira/smol-chat", model_kwargs=SETTINGS).invoke(QUESTION)


def test_a_pinned_version_answers(llm, demo: Server):
    assert "Paris" in llm(model=f"feira/smol-chat:{pinned(demo)}", model_kwargs=SETTINGS).invoke(QUESTION)


def test_it_stops_at_a_word(llm):
    said = llm(model="feira/smol-chat", model_kwargs=SETTINGS).invoke(QUESTION, stop=["Paris"])
    assert said and "Paris" not in said


def test_it_streams(llm, demo: Server):
    pieces = list(llm(model=f"feira/smol-chat:{pinned(demo)}", model_kwargs=SETTINGS, streaming=True).stream(QUESTION))
    assert "Paris" in "".join(pieces)


def test_a_chain_of_a_prompt_and_a_model_runs(llm):
    from langchain_core.prompts import PromptTemplate

    chain = PromptTemplate.from_template("What is the capital of {country}? Answer in one sentence.") | llm(
        model="feira/smol-chat", model_kwargs=SETTINGS
    )
    assert "Paris" in chain.invoke({"country": "France"})
