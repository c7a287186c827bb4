"""Deleting: the distribution specification's conformance list, rows N."""

from harness.oci import Repository, digest_of, refused


def delete(repository: Repository, rest: str):
    return repository.api.delete(repository.path(rest))


def test_N1_a_tag_is_not_deleted_for_its_history_is_kept(repository: Repository):
    repository.note("v1", b"text")
    told = refused(delete(repository, "manifests/v1"), 405, "UNSUPPORTED")
    assert "digest" in told
    assert repository.manifest("v1").status_code == 200


def test_N2_a_manifest_is_deleted_by_its_digest(repository: Repository):
    digest = repository.note("v1", b"text")
    assert delete(repository, f"manifests/{digest}").status_code == 202


def test_N3_a_deleted_manifest_is_not_found_by_digest_or_tag(repository: Repository):
    digest = repository.note("v1", b"text")
    delete(repository, f"manifests/{digest}")
    for reference in (digest, "v1"):
        refused(repository.manifest(reference), 404, "MANIFEST_UNKNOWN")


def test_N4_the_tags_of_a_deleted_manifest_are_no_longer_listed(repository: Repository):
    digest = repository.note("v1", b"text")
    repository.note("v2", b"other text")
    delete(repository, f"manifests/{digest}")
    answer = repository.tags()
    assert (answer.status_code, answer.json()["tags"]) == (200, ["v2"])


def test_N5_a_blob_that_nothing_names_is_deleted(repository: Repository):
    digest = repository.push(b"loose")
    assert delete(repository, f"blobs/{digest}").status_code == 202


def test_N6_a_deleted_blob_is_not_found(repository: Repository):
    digest = repository.push(b"loose")
    delete(repository, f"blobs/{digest}")
    refused(repository.blob(digest), 404, "BLOB_UNKNOWN")


def test_N7_a_blob_that_a_manifest_names_is_deleted_after_it(repository: Repository):
    manifest, blob = repository.note("v1", b"named"), digest_of(b"named")
    refused(delete(repository, f"blobs/{blob}"), 405, "UNSUPPORTED")
    assert repository.blob(blob).content == b"named"
    assert [delete(repository, rest).status_code for rest in (f"manifests/{manifest}", f"blobs/{blob}")] == [202, 202]


def test_N8_what_is_not_there_cannot_be_deleted(repository: Repository):
    refused(delete(repository, f"blobs/{digest_of(b'x')}"), 404, "NAME_UNKNOWN")
    repository.push(b"loose")
    refused(delete(repository, f"blobs/{digest_of(b'x')}"), 404, "BLOB_UNKNOWN")
    refused(delete(repository, f"manifests/{digest_of(b'x')}"), 404, "MANIFEST_UNKNOWN")
