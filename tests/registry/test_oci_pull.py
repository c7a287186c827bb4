"""Pulling: the distribution specification's conformance list, rows K."""

import os

import pytest

from harness.api import Api
from harness.oci import EMPTY, INDEX, MANIFEST, Repository, artefact, descriptor, digest_of, index, refused, spelled

TEXT = os.urandom(3000)
NOTE = spelled(artefact(TEXT))
UNKNOWN = digest_of(b"nobody has this")


@pytest.fixture(scope="module")
def pulled(api: Api) -> Repository:
    """A repository with one artefact, under the tag `one`."""
    repository = Repository(api, "feira/oci-pulled")
    repository.note("one", TEXT)
    return repository


def test_K1_a_head_of_a_blob_that_is_not_there_is_404(pulled: Repository):
    assert pulled.api.head(pulled.path(f"blobs/{UNKNOWN}")).status_code == 404


def test_K2_a_head_of_a_blob_tells_its_length_and_digest(pulled: Repository):
    answer = pulled.api.head(pulled.path(f"blobs/{digest_of(TEXT)}"))
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "3000", b"")
    assert answer.headers["docker-content-digest"] == digest_of(TEXT)


def test_K3_a_blob_that_is_not_there_is_404(pulled: Repository):
    refused(pulled.blob(UNKNOWN), 404, "BLOB_UNKNOWN")


def test_K4_a_blob_is_its_bytes(pulled: Repository):
    answer = pulled.blob(digest_of(TEXT))
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, TEXT, "application/octet-stream")
    assert answer.headers["docker-content-digest"] == digest_of(TEXT)


def test_K5_a_head_of_a_manifest_that_is_not_there_is_404(pulled: Repository):
    for reference in ("two", UNKNOWN):
        assert pulled.api.head(pulled.path(f"manifests/{reference}")).status_code == 404


def same_as_pushed(headers) -> bool:
    return (headers["content-type"], headers["content-length"], headers["docker-content-digest"]) == (MANIFEST, str(len(NOTE)), digest_of(NOTE))


def test_K6_a_head_of_a_manifest_by_digest_tells_what_it_is(pulled: Repository):
    answer = pulled.api.head(pulled.path(f"manifests/{digest_of(NOTE)}"))
    assert answer.status_code == 200 and answer.content == b"" and same_as_pushed(answer.headers)


def test_K7_a_head_of_a_manifest_by_tag_tells_what_it_is(pulled: Repository):
    answer = pulled.api.head(pulled.path("manifests/one"))
    assert answer.status_code == 200 and answer.content == b"" and same_as_pushed(answer.headers)


def test_K8_a_manifest_that_is_not_there_is_404(pulled: Repository):
    for reference in ("two", ".no-tag", UNKNOWN):
        refused(pulled.manifest(reference), 404, "MANIFEST_UNKNOWN")


def test_K9_a_manifest_by_digest_is_the_bytes_that_were_pushed(pulled: Repository):
    answer = pulled.manifest(digest_of(NOTE), headers={"accept": MANIFEST})
    assert (answer.status_code, answer.content) == (200, NOTE) and same_as_pushed(answer.headers)


def test_K10_a_manifest_by_tag_is_the_bytes_that_were_pushed(pulled: Repository):
    answer = pulled.manifest("one")
    assert (answer.status_code, answer.content) == (200, NOTE) and same_as_pushed(answer.headers)


def test_K11_an_error_is_a_list_of_codes_that_clients_know(pulled: Repository):
    refused(pulled.put("one", b"blablabla"), 400, "MANIFEST_INVALID")
    refused(pulled.api.get("/v2/one-part/manifests/one"), 400, "NAME_INVALID")
    refused(pulled.api.get("/v2/feira/Upper/tags/list"), 400, "NAME_INVALID")
    refused(pulled.api.post(pulled.path("tags/list")), 405, "UNSUPPORTED")
    refused(pulled.api.get("/v2/feira/nothing-here/tags/list"), 404, "NAME_UNKNOWN")


def test_K12_a_range_of_a_blob_is_its_part_and_one_outside_is_416(pulled: Repository):
    part = pulled.blob(digest_of(TEXT), headers={"range": "bytes=1000-1999"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, TEXT[1000:2000], "bytes 1000-1999/3000")
    rest = pulled.blob(digest_of(TEXT), headers={"range": "bytes=2990-"})
    assert (rest.status_code, rest.content) == (206, TEXT[2990:])
    outside = pulled.blob(digest_of(TEXT), headers={"range": "bytes=3000-"})
    refused(outside, 416, "SIZE_INVALID")
    assert outside.headers["content-range"] == "bytes */3000"


def test_K13_a_manifest_is_served_as_the_media_type_that_it_was_pushed_as(repository: Repository):
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    repository.note("note", b"text")
    pushed = {
        "index": (INDEX, index(spelled(artefact(b"text")))),
        "docker": (docker, artefact(b"text") | {"mediaType": docker}),
        "own": ("application/x-own+json", {"config": descriptor(EMPTY, b"{}")}),
    }
    for tag, (kind, manifest) in pushed.items():
        assert repository.put(tag, spelled(manifest), kind).status_code == 201
        answer = repository.manifest(tag, headers={"accept": "application/json"})
        assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, kind, spelled(manifest))
