"""Two gateways on one database and one bucket, each with a home of its own: what operations.md says of them."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import s3
from harness.api import problem
from harness.postgres import fresh_database
from harness.projects import copy, project
from harness.server import Server

BLOB_BYTES = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def gateways(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    bucket = os.environ["FEIRA_TEST_S3_URL"]
    database = fresh_database(request.config.getoption("--database-url"), "one-bucket")
    options = ["--database-url", database, "--blobs", f"s3://{bucket.rpartition('/')[2]}/one-bucket"]
    here, there = (Server(tmp_path_factory.mktemp(name), *options, environment=s3.environment(bucket)) for name in ("here", "there"))
    with here, there:
        yield here, there


def test_what_is_published_at_one_runs_at_the_other(gateways: tuple[Server, Server], tmp_path: Path):
    here, there = gateways
    weights = os.urandom(BLOB_BYTES)
    pushed = here.push(copy("weights", tmp_path, {"weights/model.bin": weights}), "feira/shared")
    ran = there.api().run(f"feira/shared:{pushed['id']}", {})
    assert ran["output"] == hashlib.sha256(weights).hexdigest()


def test_an_upload_is_known_where_it_began_and_its_blob_everywhere(gateways: tuple[Server, Server]):
    here, there = (server.api() for server in gateways)
    content = os.urandom(BLOB_BYTES)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    begun = {"digest": digest, "size": len(content)}
    path = f"/v1/blobs/uploads/{here.post('/v1/blobs/uploads', json=begun).json()['id']}"
    assert here.patch(path, content=content[:1000], headers={"upload-offset": "0"}).json()["offset"] == 1000
    problem(there.get(path), 404)
    assert there.post("/v1/blobs/uploads", json=begun).json()["offset"] == 0, "begun there, it begins from nothing"
    here.patch(path, content=content[1000:], headers={"upload-offset": "1000"})
    assert here.put(path).status_code == 201
    assert there.head(f"/v1/blobs/{digest}").headers["content-length"] == str(len(content))


def test_the_same_project_pushed_at_both_at_once_is_one_version(gateways: tuple[Server, Server]):
    model = {"owner": "feira", "name": "raced", "visibility": "public", "hardware": "cpu"}
    assert gateways[0].api().post("/v1/models", json=model).status_code == 201
    with ThreadPoolExecutor(2) as pool:
        pushed = list(pool.map(lambda server: server.push(project("echo"), "feira/raced"), gateways))
    assert pushed[0]["id"] == pushed[1]["id"]
    for server in gateways:
        assert server.api().run(f"feira/raced:{pushed[0]['id']}", {"text": "hello"})["output"] == "hello"
