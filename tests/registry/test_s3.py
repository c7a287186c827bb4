"""The whole road with all files in an S3 bucket: published, run, given back, after a restart too."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness import s3
from harness.api import problem
from harness.projects import copy, project
from harness.server import Server

# More than one part of a write.
WEIGHTS_BYTES = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def bucket() -> str:
    return os.environ["FEIRA_TEST_S3_URL"]


def store(bucket: str, prefix: str) -> str:
    return f"s3://{bucket.rpartition('/')[2]}/{prefix}"


@pytest.fixture(scope="module")
def house(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("s3")
    with Server(folder, "--blobs", store(bucket, "house"), environment=s3.environment(bucket)) as server:
        yield server


def test_a_version_whose_files_are_in_a_bucket_runs_and_runs_again_after_a_restart(house: Server, tmp_path: Path):
    weights = os.urandom(WEIGHTS_BYTES)
    pushed = house.push(copy("weights", tmp_path, {"weights/model.bin": weights}), "feira/in-a-bucket")
    version, digest = f"feira/in-a-bucket:{pushed['id']}", hashlib.sha256(weights).hexdigest()
    assert house.api().run(version, {})["output"] == digest
    assert not (house.home / "blobs").exists()

    house.stop()
    # All that the runner had fetched is gone: it has to come from the bucket once more.
    shutil.rmtree(house.home / "runner")
    house.start()
    assert house.api().run(version, {})["output"] == digest


def test_a_file_of_several_parts_comes_back_whole_and_in_ranges(house: Server):
    with house.api() as api:
        content = os.urandom(WEIGHTS_BYTES)
        file = api.upload("weights.bin", content)
        assert file["checksums"]["sha256"] == hashlib.sha256(content).hexdigest()
        version = house.push(project("files"), "feira/files-in-a-bucket")["id"]
        output = api.run(f"feira/files-in-a-bucket:{version}", {"file": file["urls"]["get"]})["output"]
        assert httpx.get(output).content == content[::-1]
        part = httpx.get(output, headers={"range": "bytes=9000000-9000009"})
        assert (part.status_code, part.content) == (206, content[::-1][9000000:9000010])


def test_a_resumed_upload_ends_in_the_bucket_and_is_not_sent_twice(house: Server):
    with house.api() as api:
        content = os.urandom(WEIGHTS_BYTES)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        path = f"/v1/blobs/uploads/{api.post('/v1/blobs/uploads', json={'digest': digest, 'size': len(content)}).json()['id']}"
        half = len(content) // 2
        api.patch(path, content=content[:half], headers={"upload-offset": "0"})
        house.stop()
        house.start()
        assert api.get(path).json()["offset"] == half
        api.patch(path, content=content[half:], headers={"upload-offset": str(half)})
        assert api.put(path).status_code == 201
        assert api.head(f"/v1/blobs/{digest}").headers["content-length"] == str(len(content))
        assert not any((house.home / "uploads").rglob("upl_*"))


def test_bytes_that_are_not_what_was_said_never_reach_the_bucket(house: Server):
    with house.api() as api:
        content = os.urandom(WEIGHTS_BYTES)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        problem(api.put(f"/v1/blobs/{digest}", content=content[::-1]), 422)
        assert api.head(f"/v1/blobs/{digest}").status_code == 404


def test_a_bucket_that_is_not_there_keeps_the_server_from_starting_and_says_why(bucket: str, tmp_path: Path):
    server = Server(tmp_path, "--blobs", "s3://no-such-bucket", environment=s3.environment(bucket))
    with pytest.raises(AssertionError, match="the S3 bucket no-such-bucket is not there: make it"):
        server.start()
    assert server.process.wait(30) == 1


def test_the_doctor_looks_at_the_store(house: Server, bucket: str, monkeypatch: pytest.MonkeyPatch):
    for name, value in s3.environment(bucket).items():
        monkeypatch.setenv(name, value)
    sound = house.feira("doctor", "--blobs", store(bucket, "doctor"), check=False).stdout
    assert "the S3 bucket feira-tests takes, gives and keeps what it is given" in sound
    sick = house.feira("doctor", "--blobs", "s3://no-such-bucket", check=False)
    assert sick.returncode == 1 and "no-such-bucket is not there" in sick.stdout
    wrong = house.feira("doctor", "--blobs", "ftp://models", check=False)
    assert wrong.returncode == 1 and "s3://BUCKET/PREFIX" in wrong.stdout
