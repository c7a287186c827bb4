"""Publishing: what is sent, what is not sent again, and what is refused."""

import hashlib
import json
from pathlib import Path

import pytest

from harness.api import Api, problem
from harness.projects import copy, project
from harness.server import Server

WEIGHTS_BYTES = 50 * 1024 * 1024


def weights(seed: int) -> bytes:
    """Bytes that no compression makes smaller, the same for the same seed."""
    return hashlib.shake_128(seed.to_bytes(4)).digest(WEIGHTS_BYTES)


@pytest.fixture(scope="module")
def pushed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, bytes]:
    """A Cog project with fifty megabytes of weights, published."""
    content = weights(1)
    folder = copy("weights", tmp_path_factory.mktemp("push"), {"weights/model.bin": content})
    return folder, server.push(folder, "feira/weighty"), content


def test_a_new_project_is_published_and_its_version_runs(api: Api, pushed: tuple[Path, dict, bytes]):
    _, said, content = pushed
    assert said["sent_bytes"] >= WEIGHTS_BYTES and said["files"] >= 3
    assert api.run(f"feira/weighty:{said['id']}", {})["output"] == hashlib.sha256(content).hexdigest()


def test_pushing_again_sends_nothing_and_gives_the_same_version(server: Server, pushed: tuple[Path, dict, bytes]):
    folder, said, _ = pushed
    again = server.push(folder, "feira/weighty")
    assert (again["id"], again["sent_files"], again["sent_bytes"]) == (said["id"], 0, 0)


def test_one_byte_changed_is_another_version_and_both_run(server: Server, api: Api, pushed: tuple[Path, dict, bytes], tmp_path: Path):
    _, said, content = pushed
    changed = bytes([content[0] ^ 1]) + content[1:]
    other = server.push(copy("weights", tmp_path, {"weights/model.bin": changed}), "feira/weighty")
    assert other["id"] != said["id"] and other["sent_files"] == 1
    for id, sent in ((said["id"], content), (other["id"], changed)):
        assert api.run(f"feira/weighty:{id}", {})["output"] == hashlib.sha256(sent).hexdigest()


def test_the_same_files_under_another_model_send_nothing_and_have_the_same_id(server: Server, pushed: tuple[Path, dict, bytes]):
    folder, said, _ = pushed
    other = server.push(folder, "feira/weighty-too")
    assert (other["id"], other["sent_files"]) == (said["id"], 0)


def test_the_schema_is_read_without_running_the_predictor(server: Server, api: Api, tmp_path: Path):
    witness = tmp_path / "it-ran"
    source = (project("echo") / "predict.py").read_text() + f"\nopen({str(witness)!r}, 'w')\n"
    said = server.push(copy("echo", tmp_path, {"predict.py": source}), "feira/read-only")
    version = api.get(f"/v1/models/feira/read-only/versions/{said['id']}").json()
    assert version["openapi_schema"]["components"]["schemas"]["Input"]["required"] == ["text"]
    assert not witness.exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"cog.yaml": "predict: predict.py:Nobody\n"}, "Nobody"),
        ({"cog.yaml": "build: [\n"}, "cog.yaml"),
        ({"predict.py": "def broken(:\n"}, "predict.py"),
        ({"feira.toml": "prise = 1\n"}, "prise"),
    ],
)
def test_a_project_that_cannot_be_read_is_refused_in_words(server: Server, tmp_path: Path, files: dict, words: str):
    done = server.feira("push", copy("echo", tmp_path, files), "feira/unreadable", check=False)
    assert done.returncode == 2 and words in done.stderr, done


def test_pushing_to_another_accounts_model_is_not_allowed(server: Server):
    token = server.account("pusher")
    done = server.feira("push", project("echo"), "feira/stolen", token=token, check=False)
    assert done.returncode == 3, done


def test_a_private_model_is_invisible_to_others(server: Server, api: Api):
    version = server.push(project("echo"), "feira/hidden", "--private")["id"]
    stranger = server.api(server.account("outsider", "1"))
    unknown = problem(stranger.get("/v1/models/feira/nowhere"), 404)
    assert problem(stranger.get("/v1/models/feira/hidden"), 404) == unknown
    assert "hidden" not in [model["name"] for model in stranger.get("/v1/models").json()["results"]]
    assert stranger.get("/v1/search", params={"query": "hidden"}).json()["models"] == []
    for reference in ("feira/hidden", f"feira/hidden:{version}"):
        told = problem(stranger.post("/v1/predictions", json={"version": reference, "input": {"text": "x"}}), 422)
        assert told["title"] == "Invalid version or not permitted"
    assert stranger.balance() == 1
    assert api.run(f"feira/hidden:{version}", {"text": "mine"})["output"] == "mine"


def test_a_manifest_that_names_an_absent_blob_says_which(api: Api, server: Server):
    server.push(project("echo"), "feira/absent")
    absent = hashlib.sha256(b"nobody sent this").hexdigest()
    config = {"protocol": "cog", "predictor": "predict.py:Predictor", "openapi_schema": schema()}
    body = {"config": config, "files": [{"path": "predict.py", "digest": f"sha256:{absent}", "size": 16}]}
    assert absent in problem(api.post("/v1/models/feira/absent/versions", json=body), 422)["detail"]


@pytest.mark.parametrize("path", ["../escape.py", "/etc/passwd", "a//b", "", "a/./b"])
def test_a_manifest_whose_path_leaves_the_project_is_refused(api: Api, server: Server, path: str):
    server.push(project("echo"), "feira/paths")
    content = b"x"
    digest = put(api, content)
    config = {"protocol": "cog", "predictor": "predict.py:Predictor", "openapi_schema": schema()}
    body = {"config": config, "files": [{"path": path, "digest": digest, "size": 1}]}
    problem(api.post("/v1/models/feira/paths/versions", json=body), 422)


def schema() -> dict:
    return {"openapi": "3.0.2", "components": {"schemas": {"Input": {"type": "object", "properties": {}}, "Output": {"type": "string"}}}}


def put(api: Api, content: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert api.put(f"/v1/blobs/{digest}", content=content).status_code in (200, 201)
    return digest


def test_the_command_line_tells_versions_and_models_as_json(server: Server, pushed: tuple[Path, dict, bytes]):
    _, said, _ = pushed
    versions = json.loads(server.feira("versions", "list", "--json", "feira/weighty").stdout)
    assert said["id"] in [version["id"] for version in versions]
    shown = json.loads(server.feira("models", "show", "--json", "feira/weighty").stdout)
    assert shown["name"] == "weighty"
    ran = json.loads(server.feira("run", "--json", f"feira/weighty:{said['id']}").stdout)
    assert ran["status"] == "succeeded"
