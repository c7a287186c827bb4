"""Images that Cog built: kept with what their labels say, shown, and refused to callers while no runner can start them."""

import json
import re

import pytest

from harness.api import Api, problem
from harness.greeter import INPUT
from harness.oci import INDEX, MANIFEST, Repository, descriptor, digest_of, refused, spelled
from harness.server import Server

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER = ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.container.image.v1+json")
SCHEMA = {"components": {"schemas": {"Input": INPUT, "Output": {"title": "Output", "type": "string"}}}}
LAYER = b"a layer"
LABELS = {
    "run.cog.openapi_schema": json.dumps(SCHEMA),
    "run.cog.version": "0.16.2",
    "run.cog.config": json.dumps({"build": {"gpu": False}, "predict": "predict.py:Predictor"}),
}
OLD_LABELS = {"org.cogmodel.openapi_schema": json.dumps(SCHEMA), "org.cogmodel.cog_version": "0.0.20", "org.cogmodel.config": "{}"}


def image(labels: dict[str, str], kinds: tuple[str, str] = (MANIFEST, OCI_CONFIG)) -> tuple[dict, bytes]:
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Labels": labels}}).encode()
    layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", LAYER)
    return {"schemaVersion": 2, "mediaType": kinds[0], "config": descriptor(kinds[1], config), "layers": [layer]}, config


def push(repository: Repository, reference: str, labels: dict[str, str], **more: object) -> str:
    manifest, config = image(labels, **more)
    return repository.publish(reference, manifest, LAYER, config).removeprefix("sha256:")


@pytest.mark.parametrize(("labels", "cog"), [(LABELS, "0.16.2"), (OLD_LABELS, "0.0.20")], ids=["run.cog", "org.cogmodel"])
@pytest.mark.parametrize("kinds", [(MANIFEST, OCI_CONFIG), DOCKER], ids=["oci", "docker"])
def test_an_image_of_cog_is_a_version_with_its_schema(api: Api, repository: Repository, labels: dict, cog: str, kinds: tuple[str, str]):
    id = push(repository, "latest", labels, kinds=kinds)
    version = api.get(f"/v1/models/{repository.name}").json()["latest_version"]
    assert (version["id"], version["cog_version"], version["driver"], version["openapi_schema"]) == (id, cog, "oci", SCHEMA)
    (listed,) = api.get(f"/v1/models/{repository.name}/versions").json()["results"]
    assert listed == version
    assert repository.manifest("latest").headers["content-type"] == kinds[0]


def test_an_index_of_images_is_one_version_and_its_parts_are_none(api: Api, repository: Repository):
    manifest, config = image(LABELS)
    part = repository.publish("", manifest, LAYER, config)
    assert api.get(f"/v1/models/{repository.name}/versions").json()["results"] == []
    whole = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, spelled(manifest), platform={"architecture": "amd64", "os": "linux"})]}
    id = repository.publish("latest", whole).removeprefix("sha256:")
    (version,) = api.get(f"/v1/models/{repository.name}/versions").json()["results"]
    assert (version["id"], version["openapi_schema"]) == (id, SCHEMA) and part != f"sha256:{id}"


def test_a_prediction_on_an_image_is_refused_with_what_it_needs(api: Api, repository: Repository):
    id = push(repository, "latest", LABELS)
    for path, version in (("/v1/predictions", f"{repository.name}:{id}"), (f"/v1/models/{repository.name}/predictions", None)):
        body = {"input": {"name": "x"}} | ({"version": version} if version else {})
        told = problem(api.post(path, json=body), 422)
        assert "driver `oci`" in told["detail"] and "feira push" in told["detail"]


def test_a_page_and_the_doctor_say_which_driver_runs_it(server: Server, api: Api):
    api.post("/v1/models", json={"owner": "feira", "name": "an-image", "visibility": "public", "hardware": "cpu"})
    push(Repository(api, "feira/an-image"), "latest", LABELS)
    for path in ("/feira/an-image", "/feira/an-image/versions"):
        page = api.get(path, headers={"accept": "text/html"})
        assert page.status_code == 200 and re.search("driver (<code>)?oci", page.text), page.text[:2000]
    findings = json.loads(server.feira("doctor", "--json", check=False).stdout)
    (drivers,) = [finding for finding in findings if finding["name"] == "drivers"]
    assert drivers["state"] == "lacking" and "`oci`" in drivers["words"]


def test_an_image_that_cog_did_not_build_is_kept_and_is_no_version(api: Api, repository: Repository):
    for tag, labels in (("plain", {}), ("without-predictor", {"run.cog.version": "0.16.2"})):
        push(repository, tag, labels)
        assert repository.manifest(tag).status_code == 200
    assert api.get(f"/v1/models/{repository.name}/versions").json()["results"] == []


def test_an_image_whose_schema_cannot_be_read_is_refused(api: Api, repository: Repository):
    for schema in ("{", "{}", json.dumps({"components": {"schemas": {"Input": 7}}})):
        manifest, config = image(LABELS | {"run.cog.openapi_schema": schema})
        for blob in (LAYER, config):
            repository.push(blob)
        refused(repository.put("latest", spelled(manifest)), 400, "MANIFEST_INVALID")
    assert repository.blob(digest_of(LAYER)).status_code == 200 and repository.tags().json()["tags"] == []


def test_an_image_is_not_published_over_http(api: Api):
    api.post("/v1/models", json={"owner": "feira", "name": "no-image", "visibility": "private", "hardware": "cpu"})
    config = {"protocol": "cog", "driver": "oci", "command": ["x"], "openapi_schema": SCHEMA}
    told = problem(api.post("/v1/models/feira/no-image/versions", json={"config": config, "files": []}), 422)
    assert "driver" in told["detail"] and "cog push" in told["detail"]
