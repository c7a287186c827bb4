"""PyPI's `replicate` 2.0.0b4: run, use, streaming, files, pages. Its base address has /v1 in it."""

import hashlib
import os

import pytest

from harness.projects import project
from harness.server import Server

PROMPT = {"prompt": "What is the capital of France? Answer in one sentence.", "temperature": 0, "max_tokens": 32}


@pytest.fixture(scope="module", autouse=True)
def replicate(demo: Server):
    """The module as it is imported where only the environment tells it where to go."""
    os.environ |= {"REPLICATE_BASE_URL": f"{demo.url}/v1", "REPLICATE_API_TOKEN": demo.token}
    import replicate

    return replicate


def test_run_answers(replicate):
    assert replicate.run("feira/hello-world", input={"name": "Ada"}) == "hello Ada"


def test_run_answers_by_a_pinned_version(replicate):
    version = replicate.models.get(model_owner="feira", model_name="hello-world").latest_version.id
    assert replicate.run(f"feira/hello-world:{version}", input={"name": "Ada"}) == "hello Ada"


def test_run_joins_a_language_models_output(replicate):
    assert "Paris" in "".join(replicate.run("feira/smol-chat", input=PROMPT))


def test_a_failure_raises(replicate):
    from replicate.exceptions import ModelError

    with pytest.raises(ModelError):
        replicate.run("feira/embed", input={"text_batch": "not a list"})


def test_use_makes_a_function_of_a_model(replicate):
    hello = replicate.use("feira/hello-world")
    assert hello(name="use") == "hello use"
    run = hello.create(name="later")
    assert run.output() == "hello later"


def test_use_joins_what_a_language_model_says(replicate):
    chat = replicate.use("feira/smol-chat")
    assert "Paris" in chat(**PROMPT)


def test_use_streams(replicate):
    pieces = list(replicate.use("feira/smol-chat", streaming=True)(**PROMPT))
    assert len(pieces) > 1 and "Paris" in "".join(pieces)


def test_stream_yields_pieces(replicate):
    pieces = [str(piece) for piece in replicate.stream("feira/smol-chat", input=PROMPT)]
    assert "Paris" in "".join(pieces)


def test_a_file_is_created_listed_got_and_deleted(replicate, tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("a note")
    file = replicate.files.create(content=path, filename="note.txt", type="text/plain", metadata={"a": 1})
    assert replicate.files.get(file_id=file.id).size == 6
    assert file.id in [one.id for one in replicate.files.list()]
    replicate.files.delete(file_id=file.id)
    with pytest.raises(replicate.NotFoundError):
        replicate.files.get(file_id=file.id)


def test_a_file_goes_in(replicate, demo: Server, tmp_path):
    version = demo.push(project("digest"), "feira/digest-for-replicate2")["id"]
    path = tmp_path / "in.bin"
    path.write_bytes(b"abc" * 1000)
    with path.open("rb") as file:
        said = replicate.run(f"feira/digest-for-replicate2:{version}", input={"file": file})
    assert said == f"3000 {hashlib.sha256(b'abc' * 1000).hexdigest()}"


def test_predictions_are_listed_page_by_page(replicate):
    made = {replicate.models.predictions.create(model_owner="feira", model_name="hello-world", input={}).id for _ in range(101)}
    seen = []
    for prediction in replicate.predictions.list(created_after="2020-01-01T00:00:00Z"):
        seen.append(prediction.id)
        if made <= set(seen):
            break
    assert made <= set(seen) and len(seen) == len(set(seen))


def test_a_prediction_is_cancelled(replicate):
    prediction = replicate.models.predictions.create(model_owner="feira", model_name="hello-world", input={"delay_ms": 60_000})
    replicate.predictions.cancel(prediction_id=prediction.id)
    assert replicate.predictions.get(prediction_id=prediction.id).status == "canceled"


def test_account_hardware_and_search_are_read(replicate):
    assert replicate.account.get().username == "feira"
    assert "cpu" in [hardware.sku for hardware in replicate.hardware.list()]
    assert "hello-world" in [model.name for model in replicate.models.search(body="hello")]
