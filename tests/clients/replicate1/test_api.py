"""PyPI's `replicate` 1.0.7 beyond single runs: deployments, trainings, pages, webhooks, versions, and its asynchronous half."""

import asyncio
import base64
import hashlib
import hmac
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import replicate
from replicate.exceptions import ReplicateError
from replicate.webhook import InvalidSignatureError, Webhooks

from harness.projects import project
from harness.server import Server
from harness.wait import until

TRAINED_SECONDS_MAX = 120
HELLO = "feira/hello-world"


def hello(client: replicate.Client) -> str:
    return client.models.get(HELLO).latest_version.id


@pytest.fixture(scope="module")
def trains(demo: Server) -> str:
    return demo.push(project("trains"), "feira/trains-for-python")["id"]


def test_a_deployment_is_created_updated_listed_asked_and_deleted(client: replicate.Client):
    made = client.deployments.create(name="python", model=HELLO, version=hello(client), hardware="cpu", min_instances=0, max_instances=1)
    assert (made.owner, made.name, made.current_release.number) == ("feira", "python", 1)
    updated = client.deployments.update("feira", "python", max_instances=2)
    assert (updated.current_release.number, updated.current_release.configuration.max_instances) == (2, 2)
    assert client.deployments.get("feira/python").current_release.number == 2
    assert "python" in [deployment.name for deployment in client.deployments.list().results]
    prediction = client.deployments.predictions.create("feira/python", input={"name": "there"}, wait=10)
    prediction.wait()
    assert prediction.output == "hello there"
    prediction = client.predictions.create(deployment="feira/python", input={"name": "again"})
    prediction.wait()
    assert prediction.output == "hello again"
    # A deployment that was just used may not be deleted yet: both answers are the documented ones.
    try:
        assert client.deployments.delete("feira", "python") is True
    except ReplicateError as refused:
        assert refused.status in (409, 422) and refused.detail


def test_a_training_is_created_got_listed_and_ends_in_a_version(client: replicate.Client, trains: str):
    client.models.create(owner="feira", name="trained-by-python", visibility="private", hardware="cpu")
    training = client.trainings.create(
        model="feira/trains-for-python", version=trains, input={"greeting": "olá"}, destination="feira/trained-by-python"
    )
    assert training.status == "starting" and training.id in [one.id for one in client.trainings.list().results]

    def training_has_ended() -> bool:
        training.reload()
        return training.status in ("succeeded", "failed", "canceled")

    until(training_has_ended, TRAINED_SECONDS_MAX)
    assert training.status == "succeeded", training.error
    assert client.run(training.output["version"], input={"name": "Ada"}) == "olá Ada"


def test_a_training_is_cancelled(client: replicate.Client, trains: str):
    client.models.create(owner="feira", name="never-trained-by-python", visibility="private", hardware="cpu")
    training = client.trainings.create(
        version=f"feira/trains-for-python:{trains}", input={"seconds": 600}, destination="feira/never-trained-by-python"
    )
    training.cancel()
    assert training.status == "canceled" and client.trainings.get(training.id).status == "canceled"


def test_pages_follow_each_other(client: replicate.Client):
    made = {client.predictions.create(version=hello(client), input={}).id for _ in range(101)}
    seen: list[str] = []
    for page in replicate.paginate(client.predictions.list):
        seen += [prediction.id for prediction in page.results]
    assert made <= set(seen) and len(seen) == len(set(seen))


def test_versions_are_listed_got_and_deleted(client: replicate.Client, demo: Server):
    first, second = (demo.push(project(name), "feira/versions-for-python")["id"] for name in ("echo", "talks"))
    model = client.models.get("feira/versions-for-python")
    assert [version.id for version in model.versions.list().results] == [second, first]
    assert model.versions.get(first).openapi_schema["components"]["schemas"]["Input"]["required"] == ["text"]
    # It takes only 204 for a deletion and gets 202, as at Replicate: what counts is that it is gone.
    model.versions.delete(second)
    assert [version.id for version in model.versions.list().results] == [first]


def test_models_are_created_searched_and_their_predictions_made(client: replicate.Client):
    made = client.models.create(owner="feira", name="made-by-python", visibility="private", hardware="cpu", description="nothing yet")
    assert (made.run_count, made.latest_version, made.default_example) == (0, None, None)
    assert "hello-world" in [model.name for model in client.models.search("hello").results]
    prediction = client.models.predictions.create(HELLO, input={"name": "model"})
    prediction.wait()
    assert prediction.output == "hello model"


def test_collections_and_hardware_are_read(client: replicate.Client):
    for collection in client.collections.list().results:
        assert client.collections.get(collection.slug).models
    assert all(hardware.name for hardware in client.hardware.list())
    with pytest.raises(ReplicateError) as refused:
        client.collections.get("nothing-of-the-kind")
    assert refused.value.status == 404


def test_the_secret_signs_as_standard_webhooks_do(client: replicate.Client):
    secret = client.webhooks.default.secret()
    key = base64.b64decode(secret.key.removeprefix("whsec_"))
    moment = str(int(time.time()))
    signature = base64.b64encode(hmac.new(key, f"msg_1.{moment}.{{}}".encode(), hashlib.sha256).digest()).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": moment, "webhook-signature": f"v1,{signature}"}
    Webhooks.validate(headers=headers, body="{}", secret=secret, tolerance=60)
    with pytest.raises(InvalidSignatureError):
        Webhooks.validate(headers=headers, body="{ }", secret=secret)


def test_a_file_goes_in_by_upload_and_by_data_uri(client: replicate.Client, demo: Server, tmp_path: Path):
    version = demo.push(project("digest"), "feira/digest-for-python")["id"]
    path = tmp_path / "in.bin"
    path.write_bytes(bytes(range(256)) * 100)
    expected = f"25600 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    for strategy in (None, "base64"):
        with path.open("rb") as file:
            assert client.run(f"feira/digest-for-python:{version}", input={"file": file}, file_encoding_strategy=strategy) == expected


def test_the_asynchronous_half_runs_streams_lists_and_cancels(client: replicate.Client):
    async def everything() -> None:
        assert await client.async_run(HELLO, input={"name": "async"}) == "hello async"
        together = await asyncio.gather(*(client.async_run(HELLO, input={"name": str(n)}) for n in range(10)))
        assert together == [f"hello {n}" for n in range(10)]
        events = [event async for event in await client.async_stream("feira/smol-chat", input={"prompt": "Say hi.", "max_tokens": 8})]
        assert events[-1].event.value == "done" and any(event.event.value == "output" for event in events)
        prediction = await client.predictions.async_create(version=hello(client), input={"delay_ms": 60_000})
        await prediction.async_cancel()
        assert (await client.predictions.async_get(prediction.id)).status == "canceled"
        assert prediction.id in [one.id for one in (await client.predictions.async_list()).results]
        assert (await client.models.async_get(HELLO)).name == "hello-world"

    asyncio.run(everything())


DAY = """
import replicate

print(replicate.run("feira/hello-world", input={"name": "Ada"}))
text = "".join(str(event) for event in replicate.stream("feira/smol-chat", input={"prompt": "Name a colour.", "max_tokens": 8}))
assert text
assert replicate.predictions.list().results and replicate.models.list().results
file = replicate.files.create(__import__("io").BytesIO(b"a note"))
assert replicate.files.get(file.id).size == 6 and replicate.files.list()
replicate.trainings.list()
replicate.deployments.list()
"""


def test_J1_a_program_works_with_one_changed_address(demo: Server):
    environment = {"PATH": os.environ["PATH"], "REPLICATE_BASE_URL": demo.url, "REPLICATE_API_TOKEN": demo.token}
    done = subprocess.run([sys.executable, "-c", DAY], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "hello Ada\n" and done.returncode == 0, done.stderr
