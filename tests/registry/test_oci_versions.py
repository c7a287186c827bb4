"""Versions over OCI: the same ids as over HTTP, the same checks, and they run."""

import json
from collections.abc import Callable

import pytest

from harness.api import Api
from harness.greeter import INPUT, greeter
from harness.oci import CONFIG, FILE, TITLE, Repository, artefact, descriptor, digest_of, refused, spelled, version
from harness.server import Server

SCHEMA = {"components": {"schemas": {"Input": INPUT, "Output": {"title": "Output", "type": "string"}}}}
GREETER = {"protocol": "cog", "command": ["feira", "model", "hello-world"], "openapi_schema": SCHEMA}


def greeter_of(text: str) -> tuple[dict, list[bytes]]:
    """A version that greets and is no other, and the blobs it is made of."""
    manifest, config = version({"note.txt": text.encode()}, GREETER)
    return manifest, [config, text.encode()]


def push(repository: Repository, reference: str, text: str) -> str:
    manifest, blobs = greeter_of(text)
    return repository.publish(reference, manifest, *blobs).removeprefix("sha256:")


def latest(api: Api, model: str) -> str | None:
    found = api.get(f"/v1/models/{model}").json()["latest_version"]
    return found and found["id"]


def copy(source: Repository, target: Repository, reference: str) -> str:
    """Copies a manifest and all that it names, and returns its digest."""
    manifest = source.manifest(reference)
    parts = manifest.json()
    for part in [parts["config"], *parts["layers"]]:
        target.push(source.blob(part["digest"]).content)
    answer = target.put(reference, manifest.content, manifest.headers["content-type"])
    assert answer.status_code == 201, answer.text
    return answer.headers["docker-content-digest"]


def test_what_is_published_over_http_is_pulled_under_its_id(api: Api, repositories: Callable[[str], Repository]):
    id = greeter(api, "feira/http-to-oci").split(":")[1]
    repository = repositories("http-to-oci")
    by_tag = repository.manifest("latest")
    assert by_tag.headers["docker-content-digest"] == f"sha256:{id}" == digest_of(by_tag.content)
    assert repository.manifest(f"sha256:{id}").content == by_tag.content
    config = by_tag.json()["config"]
    assert config["mediaType"] == CONFIG and digest_of(repository.blob(config["digest"]).content) == config["digest"]


def test_the_same_content_has_the_same_id_over_http_and_over_oci(server: Server, api: Api, published: Callable[[str], str], repositories: Callable[[str], Repository]):
    id = published("echo").split(":")[1]
    assert copy(repositories("echo"), repositories("echo-over-oci"), "latest") == f"sha256:{id}"
    answer = api.run(f"feira/echo-over-oci:{id}", {"text": "hello"})
    assert (answer["status"], answer["output"]) == ("succeeded", "hello")


def test_a_version_that_is_spelled_in_another_way_has_the_digest_of_its_own_bytes(api: Api, repository: Repository):
    id = push(repository, "v1", "spelled")
    assert digest_of(spelled(greeter_of("spelled")[0])) == f"sha256:{id}"
    found = api.get(f"/v1/models/{repository.name}/versions/{id}").json()
    assert found["openapi_schema"] == SCHEMA
    assert api.run(f"{repository.name}:{id}", {"name": "oci"})["status"] == "succeeded"


def test_latest_moves_only_for_who_names_it(api: Api, repository: Repository):
    one = push(repository, "v1", "one")
    assert latest(api, repository.name) == one, "there was none"
    two = push(repository, "v2", "two")
    assert latest(api, repository.name) == one
    listed = [each["id"] for each in api.get(f"/v1/models/{repository.name}/versions").json()["results"]]
    assert listed == [two, one], "it is a version all the same"
    push(repository, "latest", "two")
    assert latest(api, repository.name) == two
    repository.note("latest", b"a note, which cannot be run")
    assert latest(api, repository.name) == two
    moves = api.get(f"/v1/models/{repository.name}/tags/latest/history").json()["results"]
    assert [(move["number"], move["version"]) for move in moves][1:] == [(2, two), (1, one)]


def test_a_rollback_is_what_a_pull_of_latest_gets(api: Api, repository: Repository):
    one, two = push(repository, "latest", "one"), push(repository, "latest", "two")
    assert api.post(f"/v1/models/{repository.name}/rollback").json()["version"] == one
    assert repository.manifest("latest").headers["docker-content-digest"] == f"sha256:{one}"
    api.put(f"/v1/models/{repository.name}/tags/stable", json={"version": two})
    assert repository.manifest("stable").headers["docker-content-digest"] == f"sha256:{two}"
    assert repository.tags().json()["tags"] == ["latest", "stable"]


def test_a_version_deleted_on_either_side_is_gone_on_both_and_does_not_return(api: Api, repository: Repository):
    one, two = push(repository, "v1", "one"), push(repository, "v2", "two")
    assert repository.api.delete(repository.path(f"manifests/sha256:{one}")).status_code == 202
    assert api.get(f"/v1/models/{repository.name}/versions/{one}").status_code == 404
    assert api.delete(f"/v1/models/{repository.name}/versions/{two}").status_code == 202
    refused(repository.manifest("v2"), 404, "MANIFEST_UNKNOWN")
    assert repository.tags().json()["tags"] == []
    for text in ("one", "two"):
        manifest, blobs = greeter_of(text)
        for blob in blobs:
            repository.push(blob)
        refused(repository.put("v3", spelled(manifest)), 403, "DENIED")


def in_path(path: str) -> dict:
    manifest, _ = greeter_of("bad")
    manifest["layers"][0]["annotations"] = {TITLE: path}
    return manifest


@pytest.mark.parametrize(
    ("manifest", "code"),
    [
        (in_path("../note.txt"), "MANIFEST_INVALID"),
        (in_path("/etc/passwd"), "MANIFEST_INVALID"),
        (in_path(""), "MANIFEST_INVALID"),
        (greeter_of("bad")[0] | {"layers": [descriptor(FILE, b"bad")]}, "MANIFEST_INVALID"),
        (greeter_of("bad")[0] | {"layers": [descriptor("application/vnd.oci.image.layer.v1.tar", b"bad")]}, "MANIFEST_INVALID"),
        (greeter_of("bad")[0] | {"layers": [descriptor(FILE, b"bad", annotations={TITLE: "a"}) | {"size": 4}]}, "SIZE_INVALID"),
        (greeter_of("bad")[0] | {"layers": [descriptor(FILE, b"not sent", annotations={TITLE: "a"})]}, "MANIFEST_BLOB_UNKNOWN"),
        (greeter_of("bad")[0] | {"config": descriptor(CONFIG, b"{}")}, "MANIFEST_INVALID"),
        (greeter_of("bad")[0] | {"config": descriptor(CONFIG, json.dumps(GREETER | {"concurrency": 0}).encode())}, "MANIFEST_INVALID"),
    ],
)
def test_what_publishing_refuses_a_push_refuses_too(api: Api, repositories: Callable[[str], Repository], manifest: dict, code: str):
    repository = repositories("refused-versions")
    for blob in (*greeter_of("bad")[1], b"{}", json.dumps(GREETER | {"concurrency": 0}).encode()):
        repository.push(blob)
    refused(repository.put("v1", spelled(manifest)), 400, code)
    assert repository.tags().json()["tags"] == [] and api.get("/v1/models/feira/refused-versions/versions").json()["results"] == []


def test_an_artefact_beside_a_version_is_no_version(api: Api, repository: Repository):
    id = push(repository, "v1", "one")
    subject = descriptor("application/vnd.oci.image.manifest.v1+json", spelled(greeter_of("one")[0]))
    assert subject["digest"] == f"sha256:{id}"
    repository.publish("", artefact(subject=subject), b"{}")
    assert len(repository.referrers(subject["digest"]).json()["manifests"]) == 1
    assert [each["id"] for each in api.get(f"/v1/models/{repository.name}/versions").json()["results"]] == [id]
