"""Pushing: the distribution specification's conformance list, rows L."""

import os
from collections.abc import Callable

import pytest

from harness.oci import BYTES, EMPTY, INDEX, MANIFEST, Repository, artefact, descriptor, digest_of, index, refused, spelled

FIRST = os.urandom(3000)
SECOND = os.urandom(2000)
WHOLE = FIRST + SECOND


def patch(repository: Repository, location: str, content: bytes, range: str | None = None):
    headers = BYTES | ({"content-range": range} if range else {})
    return repository.api.patch(location, content=content, headers=headers)


def put(repository: Repository, location: str, content: bytes, digest: str, range: str | None = None):
    headers = BYTES | ({"content-range": range} if range else {})
    return repository.api.put(location, params={"digest": digest}, content=content, headers=headers)


@pytest.fixture
def begun(repository: Repository) -> str:
    """An upload that has its first piece."""
    location = repository.upload()
    assert patch(repository, location, FIRST, "0-2999").status_code == 202
    return location


def test_L1_a_piece_without_a_range_is_added(repository: Repository):
    answer = patch(repository, repository.upload(), FIRST)
    assert (answer.status_code, answer.headers["range"]) == (202, "0-2999") and answer.headers["location"]


def test_L2_a_streamed_upload_is_closed_by_its_digest(repository: Repository):
    location = patch(repository, repository.upload(), WHOLE).headers["location"]
    answer = put(repository, location, b"", digest_of(WHOLE))
    assert (answer.status_code, answer.headers["docker-content-digest"]) == (201, digest_of(WHOLE))
    assert repository.api.get(answer.headers["location"]).content == WHOLE


def test_L3_a_blob_that_comes_with_its_digest_needs_one_request(repository: Repository):
    answer = repository.api.post(repository.path("blobs/uploads/"), params={"digest": digest_of(FIRST)}, content=FIRST, headers=BYTES)
    assert answer.status_code == 201
    assert repository.api.get(answer.headers["location"]).content == FIRST


def test_L4_a_blob_that_comes_whole_with_the_put_is_stored(repository: Repository):
    answer = put(repository, repository.upload(), WHOLE, digest_of(WHOLE))
    assert answer.status_code == 201 and answer.headers["location"].endswith(f"blobs/{digest_of(WHOLE)}")


def test_L5_a_blob_is_there_after_its_push_and_not_before(repository: Repository):
    repository.push(b"something else")
    assert repository.blob(digest_of(SECOND)).status_code == 404
    repository.push(SECOND)
    assert repository.blob(digest_of(SECOND)).content == SECOND


def test_L6_a_piece_that_leaves_a_gap_is_416(repository: Repository):
    location = repository.upload()
    refused(patch(repository, location, SECOND, "3000-4999"), 416, "BLOB_UPLOAD_INVALID")
    assert repository.api.get(location).headers["range"] == "0-0"


def test_L7_the_first_piece_is_taken(repository: Repository):
    answer = patch(repository, repository.upload(), FIRST, "0-2999")
    assert (answer.status_code, answer.headers["range"]) == (202, "0-2999")


def test_L8_a_piece_that_came_already_is_416_and_told_where_to_go_on(repository: Repository, begun: str):
    answer = patch(repository, begun, FIRST, "0-2999")
    refused(answer, 416, "BLOB_UPLOAD_INVALID")
    assert (answer.headers["range"], answer.headers["location"]) == ("0-2999", begun)


def test_L9_an_upload_tells_how_far_it_is(repository: Repository, begun: str):
    answer = repository.api.get(begun)
    assert (answer.status_code, answer.headers["range"], answer.headers["location"]) == (204, "0-2999", begun)


def test_L10_the_second_piece_goes_on_where_the_first_ended(repository: Repository, begun: str):
    answer = patch(repository, begun, SECOND, "3000-4999")
    assert (answer.status_code, answer.headers["range"]) == (202, "0-4999")


def test_L11_a_chunked_upload_is_closed_by_its_digest(repository: Repository, begun: str):
    patch(repository, begun, SECOND, "3000-4999")
    assert put(repository, begun, b"", digest_of(WHOLE)).status_code == 201
    assert repository.blob(digest_of(WHOLE)).content == WHOLE


def test_L12_the_last_piece_may_come_with_the_put(repository: Repository, begun: str):
    assert put(repository, begun, SECOND, digest_of(WHOLE), "3000-4999").status_code == 201
    assert repository.blob(digest_of(WHOLE)).content == WHOLE


def test_L13_a_blob_of_another_repository_is_mounted(repositories: Callable[[str], Repository]):
    one, two = repositories("mounted-from"), repositories("mounted-to")
    digest = one.push(FIRST)
    answer = two.begin(mount=digest, **{"from": one.name})
    assert (answer.status_code, answer.headers["docker-content-digest"]) == (201, digest)
    assert two.api.get(answer.headers["location"]).content == FIRST


def test_L14_what_cannot_be_mounted_is_uploaded(repository: Repository):
    for source in ("feira/nothing", "not a name"):
        answer = repository.begin(mount=digest_of(b"nobody has this"), **{"from": source})
        assert answer.status_code == 202
        assert put(repository, answer.headers["location"], FIRST, digest_of(FIRST)).status_code == 201


def test_L15_a_mount_from_nowhere_begins_an_upload(repository: Repository):
    digest = repository.push(FIRST)
    answer = repository.begin(mount=digest)
    assert answer.status_code == 202 and "uploads/" in answer.headers["location"]


def test_L16_an_upload_that_is_cancelled_is_gone(repository: Repository, begun: str):
    assert repository.api.delete(begun).status_code == 204
    refused(repository.api.get(begun), 404, "BLOB_UPLOAD_UNKNOWN")
    refused(repository.api.delete(begun), 404, "BLOB_UPLOAD_UNKNOWN")


def test_L17_a_blob_that_has_another_digest_is_refused_and_its_upload_is_over(repository: Repository, begun: str):
    told = refused(put(repository, begun, b"", digest_of(WHOLE)), 400, "DIGEST_INVALID")
    assert digest_of(FIRST) in told
    refused(repository.api.get(begun), 404, "BLOB_UPLOAD_UNKNOWN")
    whole = repository.api.post(repository.path("blobs/uploads/"), params={"digest": digest_of(b"x")}, content=WHOLE, headers=BYTES)
    refused(whole, 400, "DIGEST_INVALID")


def test_L18_one_manifest_has_as_many_tags_as_one_gives_it(repository: Repository):
    for tag in ("test0", "test1", "test2", "test3"):
        digest = repository.note(tag, b"text")
        assert repository.manifest(tag).headers["docker-content-digest"] == digest
    assert repository.tags().json()["tags"] == ["test0", "test1", "test2", "test3"]


def test_L19_a_manifest_without_a_tag_is_found_by_its_digest(repository: Repository):
    digest = repository.note("", b"text")
    assert repository.manifest(digest).content == spelled(artefact(b"text"))
    assert repository.tags().json()["tags"] == []


def test_L20_a_manifest_needs_no_layers(repository: Repository):
    digest = repository.publish("bare", artefact(), b"{}")
    assert repository.manifest(digest).status_code == 200


def test_L21_a_manifest_whose_blob_is_not_there_is_refused_and_the_blob_is_named(repository: Repository):
    repository.push(b"{}")
    told = refused(repository.put("v1", spelled(artefact(b"not sent"))), 400, "MANIFEST_BLOB_UNKNOWN")
    assert digest_of(b"not sent") in told
    assert repository.manifest("v1").status_code == 404


def test_L22_a_manifest_under_a_digest_that_is_not_its_own_is_refused(repository: Repository):
    repository.note("v1", b"text")
    refused(repository.put(digest_of(b"other"), spelled(artefact(b"text"))), 400, "DIGEST_INVALID")
    assert repository.manifest(digest_of(b"other")).status_code == 404


def test_L23_an_index_names_manifests_of_its_repository(repository: Repository):
    repository.note("one", b"one")
    repository.note("two", b"two")
    both = index(spelled(artefact(b"one")), spelled(artefact(b"two")))
    repository.publish("both", both)
    assert repository.manifest("both").json() == both
    refused(repository.put("none", spelled(index(spelled(artefact(b"three")))), INDEX), 400, "MANIFEST_BLOB_UNKNOWN")


def test_L24_an_index_may_name_an_index_but_not_without_end(repository: Repository):
    repository.note("note", b"text")
    below, kind = spelled(artefact(b"text")), MANIFEST
    for depth in range(1, 6):
        above = spelled(index(below, kinds={below: kind}))
        answer = repository.put(digest_of(above), above, INDEX)
        if depth < 5:
            assert answer.status_code == 201, answer.text
        else:
            refused(answer, 400, "MANIFEST_INVALID")
        below, kind = above, INDEX


def test_L25_an_index_may_be_empty(repository: Repository):
    repository.publish("empty", index())
    assert repository.manifest("empty").headers["content-type"] == INDEX


def test_L26_a_manifest_of_almost_four_megabytes_is_taken(repository: Repository):
    annotations = {f"large-{n}": "A" * 10_000 for n in range(390)}
    repository.note("large", b"text", annotations=annotations)
    assert repository.manifest("large").json()["annotations"] == annotations


def test_L27_a_manifest_of_more_than_four_megabytes_is_refused(repository: Repository):
    repository.push(b"{}")
    large = spelled(artefact(annotations={"large": "A" * (4 << 20)}))
    refused(repository.put("too-large", large), 413, "MANIFEST_INVALID")
    assert repository.manifest("too-large").status_code == 404


def test_L28_fields_that_we_do_not_know_stay_as_they_are(repository: Repository):
    repository.note("custom", b"text", **{"org.example.custom": {"b": [1, None], "a": 1.50}})
    assert repository.manifest("custom").json()["org.example.custom"] == {"b": [1, None], "a": 1.50}


def test_L29_a_descriptor_may_carry_its_data(repository: Repository):
    repository.publish("data", artefact() | {"config": descriptor(EMPTY, b"{}", data="e30=")}, b"{}")
    assert repository.manifest("data").json()["config"]["data"] == "e30="


def test_L30_layers_that_lie_elsewhere_need_not_be_here(repository: Repository):
    kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    foreign = descriptor(kind, b"elsewhere", urls=["https://store.example.com/layer"])
    repository.publish("foreign", artefact() | {"layers": [foreign]}, b"{}")
    assert repository.manifest("foreign").json()["layers"] == [foreign]
    assert repository.blob(foreign["digest"]).status_code == 404


def test_L31_a_manifest_that_is_about_another_says_so_in_the_answer(repository: Repository):
    subject = descriptor(MANIFEST, b"not here yet")
    repository.push(b"{}")
    answer = repository.put("about", spelled(artefact(subject=subject)))
    assert (answer.status_code, answer.headers["oci-subject"]) == (201, subject["digest"])


def test_L32_a_digest_of_another_algorithm_is_refused(repository: Repository):
    sha512 = f"sha512:{'0' * 128}"
    refused(put(repository, repository.upload(), b"x", sha512), 400, "DIGEST_INVALID")
    refused(repository.put("v1", spelled(artefact() | {"config": {"mediaType": EMPTY, "digest": sha512, "size": 2}})), 400, "MANIFEST_INVALID")
