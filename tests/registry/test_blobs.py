"""Blobs: hashed while they come in, resumable, never overwritten."""

import hashlib
import os

from harness.api import Api, problem
from harness.server import Server

BLOB_BYTES = 3_000_000


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def begin(api: Api, content: bytes) -> str:
    answer = api.post("/v1/blobs/uploads", json={"digest": digest_of(content), "size": len(content)})
    assert answer.status_code == 201, answer.text
    return f"/v1/blobs/uploads/{answer.json()['id']}"


def test_a_blob_is_there_once_it_was_sent(api: Api):
    content = os.urandom(1000)
    path = f"/v1/blobs/{digest_of(content)}"
    assert api.head(path).status_code == 404
    assert [api.put(path, content=content).status_code for _ in range(2)] == [201, 200]
    answer = api.head(path)
    assert (answer.status_code, answer.headers["content-length"]) == (200, "1000")


def test_a_blob_whose_hash_is_wrong_is_not_kept(api: Api):
    content = os.urandom(1000)
    path = f"/v1/blobs/{digest_of(content)}"
    told = problem(api.put(path, content=content[::-1]), 422)
    assert digest_of(content)[7:] in told["detail"]
    assert api.head(path).status_code == 404


def test_a_digest_that_is_none_names_no_blob(api: Api):
    for digest in ("sha256:abc", "md5:" + "0" * 32, "..%2f..%2fsecret", "0" * 64):
        answer = api.put(f"/v1/blobs/{digest}", content=b"x")
        assert answer.status_code in (400, 404, 422)
        problem(answer, answer.status_code)


def test_an_upload_goes_on_where_it_stopped(server: Server, api: Api):
    content = os.urandom(BLOB_BYTES)
    path = begin(api, content)
    half = BLOB_BYTES // 2
    sent = api.patch(path, content=content[:half], headers={"upload-offset": "0"})
    assert sent.json()["offset"] == half
    assert begin(server.api(), content) == path
    assert api.get(path).json()["offset"] == half
    assert api.patch(path, content=content[half:], headers={"upload-offset": str(half)}).json()["offset"] == BLOB_BYTES
    answer = api.put(path)
    assert (answer.status_code, answer.json()) == (201, {"digest": digest_of(content), "size": BLOB_BYTES})
    assert api.head(f"/v1/blobs/{digest_of(content)}").status_code == 200


def test_an_upload_at_the_wrong_place_is_told_the_right_one(api: Api):
    content = os.urandom(1000)
    path = begin(api, content)
    api.patch(path, content=content[:400], headers={"upload-offset": "0"})
    answer = api.patch(path, content=content[500:], headers={"upload-offset": "500"})
    assert "400" in problem(answer, 409)["detail"]
    assert api.get(path).json()["offset"] == 400


def test_an_upload_that_is_not_whole_or_not_what_was_said_is_refused(api: Api):
    content = os.urandom(1000)
    path = begin(api, content)
    api.patch(path, content=content[:-1], headers={"upload-offset": "0"})
    problem(api.put(path), 422)
    api.patch(path, content=b"!" if content[-1:] != b"!" else b"?", headers={"upload-offset": "999"})
    problem(api.put(path), 422)
    assert api.head(f"/v1/blobs/{digest_of(content)}").status_code == 404


def test_an_upload_is_its_owners(server: Server, api: Api):
    content = os.urandom(1000)
    path = begin(api, content)
    stranger = server.api(server.account("uploader"))
    problem(stranger.get(path), 404)
    problem(stranger.patch(path, content=content, headers={"upload-offset": "0"}), 404)
