"""A repository as the distribution specification names its parts: blobs, manifests, tags, referrers."""

import hashlib
import json
from collections.abc import Mapping

import httpx

from harness.api import Api

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.feira.version.config.v1+json"
FILE = "application/vnd.feira.file.v1"
TITLE = "org.opencontainers.image.title"
EMPTY = "application/vnd.oci.empty.v1+json"
BYTES = {"content-type": "application/octet-stream"}


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def descriptor(kind: str, content: bytes, **more: object) -> dict:
    return {"mediaType": kind, "digest": digest_of(content), "size": len(content), **more}


def spelled(manifest: dict) -> bytes:
    return json.dumps(manifest, indent=2).encode()


def artefact(*layers: bytes, kind: str = "application/x-note", **more: object) -> dict:
    """A manifest over an empty config, as ORAS makes them."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": descriptor(EMPTY, b"{}"),
        "layers": [descriptor("text/plain", layer) for layer in layers],
        **more,
    }


def index(*manifests: bytes, kinds: Mapping[bytes, str] | None = None) -> dict:
    named = [descriptor((kinds or {}).get(manifest, MANIFEST), manifest) for manifest in manifests]
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": named}


def version(files: dict[str, bytes], config: dict) -> tuple[dict, bytes]:
    """A version's manifest over these files, and its config's bytes."""
    config_bytes = json.dumps(config).encode()
    layers = [descriptor(FILE, content, annotations={TITLE: path}) for path, content in files.items()]
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, config_bytes), "layers": layers}, config_bytes


class Repository:
    """One repository, as one caller uses it."""

    def __init__(self, api: Api, name: str):
        self.api = api
        self.name = name

    def path(self, rest: str) -> str:
        return f"/v2/{self.name}/{rest}"

    def begin(self, **query: str) -> httpx.Response:
        return self.api.post(self.path("blobs/uploads/"), params=query)

    def upload(self) -> str:
        """Begins an upload, and names its address."""
        answer = self.begin()
        assert answer.status_code == 202, answer.text
        return answer.headers["location"]

    def push(self, content: bytes) -> str:
        """Pushes a blob as most clients do, and names its digest."""
        digest = digest_of(content)
        answer = self.api.put(self.upload(), params={"digest": digest}, content=content, headers=BYTES)
        assert answer.status_code == 201, answer.text
        return digest

    def blob(self, digest: str, **more: object) -> httpx.Response:
        return self.api.get(self.path(f"blobs/{digest}"), **more)

    def manifest(self, reference: str, **more: object) -> httpx.Response:
        return self.api.get(self.path(f"manifests/{reference}"), **more)

    def put(self, reference: str, manifest: bytes, kind: str | None = MANIFEST) -> httpx.Response:
        headers = {"content-type": kind} if kind else {}
        return self.api.put(self.path(f"manifests/{reference}"), content=manifest, headers=headers)

    def publish(self, reference: str, manifest: dict, *blobs: bytes) -> str:
        """Pushes a manifest after the blobs that it names, and names its digest."""
        for blob in blobs:
            self.push(blob)
        content = spelled(manifest)
        answer = self.put(reference or digest_of(content), content, manifest["mediaType"])
        assert answer.status_code == 201, answer.text
        assert answer.headers["docker-content-digest"] == digest_of(content)
        return digest_of(content)

    def note(self, reference: str, text: bytes, **more: object) -> str:
        """Pushes an artefact of one layer."""
        return self.publish(reference, artefact(text, **more), b"{}", text)

    def tags(self, **query: object) -> httpx.Response:
        return self.api.get(self.path("tags/list"), params=query)

    def referrers(self, digest: str, **query: object) -> httpx.Response:
        return self.api.get(self.path(f"referrers/{digest}"), params=query)


def refused(answer: httpx.Response, status: int, code: str) -> str:
    """Checks that an answer is an error as the specification tells them, and returns what it says."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    (error,) = answer.json()["errors"]
    assert set(error) == {"code", "message", "detail"} and error["code"] == code and error["message"], error
    return error["message"]
