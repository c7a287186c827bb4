"""Thirty texts that are no digests, wherever one is taken: each is refused with a clear error, and nothing is written."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from harness.api import Api, problem
from harness.oci import EMPTY, MANIFEST, Repository, artefact, descriptor, spelled
from harness.server import Server

HOSTILE = json.loads((Path(__file__).parent / "hostile_digests.json").read_text())
NAME = "feira/digests"

Ask = Callable[[Api, str], httpx.Response]


def v1(method: str, path: str) -> Ask:
    return lambda api, digest: api.request(method, path.format(quote(digest, safe="")), content=b"x" if method in ("PUT", "PATCH") else None)


def v1_json(path: str, body: Callable[[str], dict]) -> Ask:
    return lambda api, digest: api.post(path, json=body(digest))


CONFIG = {"protocol": "cog", "command": ["x"], "openapi_schema": {"components": {"schemas": {"Input": {"type": "object"}, "Output": {}}}}}

V1: dict[str, Ask] = {
    "head-blob": v1("HEAD", "/v1/blobs/{}"),
    "put-blob": v1("PUT", "/v1/blobs/{}"),
    "begin-upload": v1_json("/v1/blobs/uploads", lambda digest: {"digest": digest, "size": 1}),
    "file-of-a-version": v1_json(f"/v1/models/{NAME}/versions", lambda digest: {"config": CONFIG, "files": [{"path": "a", "digest": digest, "size": 1}]}),
    "hook-of-a-version": v1_json(
        f"/v1/models/{NAME}/versions", lambda digest: {"config": CONFIG | {"hooks": [{"name": "h", "digest": digest, "stages": ["before"]}]}, "files": []}
    ),
    "get-version": v1("GET", f"/v1/models/{NAME}/versions/{{}}"),
    "delete-version": v1("DELETE", f"/v1/models/{NAME}/versions/{{}}"),
    "move-tag": lambda api, digest: api.put(f"/v1/models/{NAME}/tags/stable", json={"version": digest}),
    "roll-back": v1_json(f"/v1/models/{NAME}/rollback", lambda digest: {"version": digest}),
    "run": v1_json("/v1/predictions", lambda digest: {"version": digest, "input": {}}),
}


def v2(method: str, rest: str) -> Ask:
    return v1(method, f"/v2/{NAME}/{rest}")


def v2_manifest(manifest: Callable[[dict], dict]) -> Ask:
    """A manifest in which a descriptor has the digest."""

    def ask(api: Api, digest: str) -> httpx.Response:
        bad = descriptor(EMPTY, b"{}") | {"digest": digest}
        return Repository(api, NAME).put("v1", spelled(manifest(bad)))

    return ask


def finish(api: Api, digest: str) -> httpx.Response:
    location = Repository(api, NAME).upload()
    answer = api.put(f"{location}?digest={quote(digest, safe='')}", content=b"x")
    assert api.delete(location).status_code == 204, "the upload is left to who began it"
    return answer


V2: dict[str, Ask] = {
    "head-blob": v2("HEAD", "blobs/{}"),
    "get-blob": v2("GET", "blobs/{}"),
    "delete-blob": v2("DELETE", "blobs/{}"),
    "push-blob": v2("POST", "blobs/uploads/?digest={}"),
    "mount-blob": v2("POST", "blobs/uploads/?mount={}&from=feira/other"),
    "finish-upload": finish,
    "head-manifest": v2("HEAD", "manifests/{}"),
    "get-manifest": v2("GET", "manifests/{}"),
    "put-manifest": lambda api, digest: api.put(f"/v2/{NAME}/manifests/{quote(digest, safe='')}", content=spelled(artefact()), headers={"content-type": MANIFEST}),
    "delete-manifest": v2("DELETE", "manifests/{}"),
    "referrers": v2("GET", "referrers/{}"),
    "config-of-a-manifest": v2_manifest(lambda bad: artefact() | {"config": bad}),
    "layer-of-a-manifest": v2_manifest(lambda bad: artefact() | {"layers": [bad]}),
    "subject-of-a-manifest": v2_manifest(lambda bad: artefact(subject=bad)),
    "child-of-an-index": v2_manifest(lambda bad: {"mediaType": MANIFEST, "manifests": [bad]}),
}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that nobody else writes to, with a model that holds something."""
    with Server(tmp_path_factory.mktemp("quiet")) as server:
        Repository(server.api(), NAME).note("one", b"text")
        yield server


def caller(server: Server) -> Api:
    """A body that is refused unread ends its connection, which must not be taken for the next request."""
    api = server.api()
    api.headers["connection"] = "close"
    return api


def written(server: Server) -> dict[str, int]:
    """All that lies in the server's stores, with its size."""
    folders = [server.home / "blobs", server.home / "uploads"]
    return {str(path): path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()}


def test_there_are_thirty_of_them_and_no_two_are_the_same():
    assert len(HOSTILE) == len(set(HOSTILE)) == 30


@pytest.mark.parametrize("ask", V1.values(), ids=V1)
def test_none_is_taken_by_our_own_api(quiet: Server, ask: Ask):
    api, before = caller(quiet), written(quiet)
    for digest in HOSTILE:
        answer = ask(api, digest)
        assert answer.status_code in (400, 404, 422), (digest, answer.status_code, answer.text)
        if answer.request.method != "HEAD":
            problem(answer, answer.status_code)
    assert written(quiet) == before


@pytest.mark.parametrize("ask", V2.values(), ids=V2)
def test_none_is_taken_by_the_oci_api(quiet: Server, ask: Ask):
    api, before = caller(quiet), written(quiet)
    for digest in HOSTILE:
        answer = ask(api, digest)
        assert answer.status_code in (400, 404), (digest, answer.status_code, answer.text)
        if answer.request.method != "HEAD":
            (error,) = answer.json()["errors"]
            assert error["code"] in ("DIGEST_INVALID", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID") and len(error["message"]) > 10, (digest, error)
    assert written(quiet) == before
    assert Repository(api, NAME).tags().json()["tags"] == ["one"]
