"""PyPI's `replicate` 1.0.7 on every demo model: run, stream, create, get, list, cancel, files."""

import io
import math
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import replicate
from PIL import Image
from replicate.exceptions import ModelError, ReplicateError

from harness.server import Server

PROMPT = {"prompt": "What is the capital of France? Answer in one sentence.", "temperature": 0, "max_tokens": 32}


def latest(client: replicate.Client, name: str) -> str:
    return client.models.get(f"feira/{name}").latest_version.id


def picture(width: int = 40, height: int = 30) -> io.BytesIO:
    """A gradient with an edge in it."""
    image = Image.new("RGB", (width, height), (200, 60, 20))
    image.paste((20, 90, 200), (width // 2, 0, width, height))
    content = io.BytesIO()
    image.save(content, "PNG")
    content.seek(0)
    content.name = "picture.png"
    return content


@pytest.mark.parametrize("pinned", [False, True], ids=["latest", "pinned"])
def test_hello_world_runs(client: replicate.Client, pinned: bool):
    reference = "feira/hello-world" + (f":{latest(client, 'hello-world')}" if pinned else "")
    assert client.run(reference, input={"name": "Ada"}) == "hello Ada"


@pytest.mark.parametrize("pinned", [False, True], ids=["latest", "pinned"])
def test_smol_chat_runs(client: replicate.Client, pinned: bool):
    reference = "feira/smol-chat" + (f":{latest(client, 'smol-chat')}" if pinned else "")
    assert "Paris" in "".join(client.run(reference, input=PROMPT))


def test_smol_chat_streams_what_get_returns(client: replicate.Client):
    prediction = client.predictions.create(model="feira/smol-chat", input=PROMPT, stream=True)
    stream = list(prediction.stream())
    pieces = [str(event) for event in stream if event.event.value == "output"]
    assert len(pieces) > 3 and stream[-1].event.value == "done"
    prediction.reload()
    assert prediction.status == "succeeded"
    assert "".join(pieces) == "".join(prediction.output)
    assert "Paris" in "".join(pieces)


def test_smol_chat_streams_by_the_short_way(client: replicate.Client):
    text = "".join(str(event) for event in client.stream("feira/smol-chat", input=PROMPT))
    assert "Paris" in text


def test_smol_chat_counts_its_tokens_and_charges_by_them(client: replicate.Client, demo: Server):
    prediction = client.predictions.create(model="feira/smol-chat", input=PROMPT)
    prediction.wait()
    assert prediction.metrics["input_token_count"] > 0 and prediction.metrics["output_token_count"] > 0
    shown = demo.api().prediction(prediction.id)
    assert {line["meter"]: line["quantity"] for line in shown["cost_lines"]} == {
        "prompt_tokens": str(prediction.metrics["input_token_count"]),
        "completion_tokens": str(prediction.metrics["output_token_count"]),
    }


def test_upscale_takes_a_file_and_returns_a_larger_picture(client: replicate.Client):
    output = client.run("feira/upscale", input={"image": picture(), "scale": 2})
    content = output.read() if hasattr(output, "read") else httpx.get(output).content
    larger = Image.open(io.BytesIO(content)).convert("RGB")
    assert larger.size == (80, 60)
    left, right = larger.getpixel((10, 30)), larger.getpixel((70, 30))
    assert left[0] > 150 > left[2] and right[2] > 150 > right[0]


def test_embed_puts_like_beside_like(client: replicate.Client):
    (cat,), (kitten,), (ledger,) = (
        client.run("feira/embed", input={"text": text}) for text in ("a small cat", "a kitten", "double-entry bookkeeping")
    )
    assert len(cat) == 384 and math.isclose(math.hypot(*cat), 1, abs_tol=1e-3)
    assert near(cat, kitten) > near(cat, ledger) + 0.2


def near(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", ["hello-world", "smol-chat", "upscale", "embed"])
def test_every_demo_model_is_created_got_and_listed(client: replicate.Client, name: str):
    input = {"hello-world": {"name": "List"}, "smol-chat": PROMPT, "upscale": {"image": picture()}, "embed": {"text": "list"}}[name]
    prediction = client.predictions.create(version=latest(client, name), input=input)
    prediction.wait()
    assert prediction.status == "succeeded", prediction.error
    assert client.predictions.get(prediction.id).output == prediction.output
    assert prediction.id in [listed.id for listed in client.predictions.list().results]
    model = client.models.get(f"feira/{name}")
    assert (model.owner, model.name, model.visibility) == ("feira", name, "public")
    assert model.cover_image_url and model.default_example
    assert latest(client, name) in [version.id for version in model.versions.list().results]


@pytest.mark.parametrize(
    ("name", "input"),
    [
        ("hello-world", {"delay_ms": 60_000}),
        ("smol-chat", {"prompt": "Count from one to one thousand in words.", "max_tokens": 1000, "temperature": 0}),
    ],
)
def test_a_prediction_is_cancelled(client: replicate.Client, name: str, input: dict):
    prediction = client.predictions.create(model=f"feira/{name}", input=input)
    prediction.cancel()
    prediction.wait()
    assert prediction.status == "canceled" and prediction.completed_at


@pytest.mark.parametrize("name", ["upscale", "embed"])
def test_a_short_prediction_is_cancelled_or_was_faster(client: replicate.Client, name: str):
    input = {"image": picture(1000, 1000), "scale": 4} if name == "upscale" else {"text": "fast"}
    prediction = client.predictions.create(model=f"feira/{name}", input=input)
    prediction.cancel()
    prediction.wait()
    assert prediction.status in ("canceled", "succeeded")


def test_a_prompt_too_long_is_refused_by_the_before_hook(client: replicate.Client, demo: Server):
    before = demo.api().balance()
    with pytest.raises(ReplicateError) as refused:
        client.run("feira/smol-chat", input={"prompt": "x" * 4001})
    assert refused.value.status == 422 and "at most 4000 are taken" in refused.value.detail
    assert demo.api().balance() == before


def test_the_hooks_of_smol_chat_are_shown_with_what_they_did(client: replicate.Client, demo: Server):
    prediction = client.predictions.create(model="feira/smol-chat", input=PROMPT)
    prediction.wait()
    ran = {hook["name"]: hook for hook in demo.api().prediction(prediction.id)["hooks"]}
    assert set(ran) == {"prompt-template", "redact"}
    assert ran["prompt-template"]["metrics"]["prompt_tokens_estimate"] > 0


def test_a_failed_model_raises_with_its_reason(client: replicate.Client):
    with pytest.raises(ModelError, match="JSON list"):
        client.run("feira/embed", input={"text_batch": "not a list"})


def test_an_unknown_version_raises_in_replicates_words(client: replicate.Client):
    with pytest.raises(ReplicateError, match="Invalid version or not permitted"):
        client.run("feira/hello-world:" + "0" * 64, input={})


def test_account_hardware_and_models_read_as_the_client_expects(client: replicate.Client):
    assert client.accounts.current().username == "feira"
    assert "cpu" in [hardware.sku for hardware in client.hardware.list()]
    assert {"hello-world", "smol-chat", "upscale", "embed"} <= {model.name for model in client.models.list().results}


def test_a_file_is_uploaded_got_and_deleted(client: replicate.Client, tmp_path: Path):
    path = tmp_path / "note.txt"
    path.write_text("a note")
    file = client.files.create(path)
    assert client.files.get(file.id).checksums == file.checksums
    client.files.delete(file.id)
    with pytest.raises(ReplicateError):
        client.files.get(file.id)


def test_the_line_that_the_server_prints_to_try_works_as_it_stands(demo: Server):
    code = 'import replicate; print(replicate.run("feira/hello-world", input={"name": "Ada"}))'
    environment = {"REPLICATE_BASE_URL": demo.url, "REPLICATE_API_TOKEN": demo.token}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "hello Ada\n", done.stderr


@pytest.mark.parametrize("base", ["/v1", "/v1/"])
def test_a_base_address_with_v1_in_it_works_too(demo: Server, base: str):
    client = replicate.Client(api_token=demo.token, base_url=demo.url + base)
    assert client.run("feira/hello-world", input={"name": "you"}) == "hello you"
