"""Pulling: what comes out is what went in, from where it broke off, and only for those who may see it."""

import hashlib
import json
from pathlib import Path

import pytest

from harness.api import Api, problem
from harness.projects import copy
from harness.server import Server

WEIGHTS_BYTES = 20 * 1024 * 1024


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def pushed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project with weights, an empty file, and the same bytes under two names; and the id of its version."""
    content = hashlib.shake_128(b"pull").digest(WEIGHTS_BYTES)
    files = {"weights/model.bin": content, "weights/deep/er/copy.bin": content, "empty": b"", "a name with spaces.txt": "ü"}
    folder = copy("weights", tmp_path_factory.mktemp("pull"), files)
    return folder, server.push(folder, "feira/pulled")["id"]


def test_what_is_pulled_is_what_was_pushed(server: Server, pushed: tuple[Path, str], tmp_path: Path):
    folder, id = pushed
    said = json.loads(server.feira("pull", "--json", f"feira/pulled:{id}", tmp_path / "out").stdout)
    assert tree(tmp_path / "out") == tree(folder)
    assert said["id"] == id and WEIGHTS_BYTES < said["received_bytes"] < WEIGHTS_BYTES + 1_000_000, "the same bytes come once"
    again = json.loads(server.feira("pull", "--json", "feira/pulled", tmp_path / "out").stdout)
    assert (again["id"], again["received_files"], again["received_bytes"]) == (id, 0, 0)
    assert server.push(tmp_path / "out", "feira/pulled-again")["id"] == id, "and pushed again it is the same version"


def test_a_pull_goes_on_where_it_broke_off(server: Server, pushed: tuple[Path, str], tmp_path: Path):
    folder, id = pushed
    content = (folder / "weights/model.bin").read_bytes()
    parts = tmp_path / "out" / ".feira-pull"
    parts.mkdir(parents=True)
    digest = hashlib.sha256(content).hexdigest()
    (parts / digest).write_bytes(content[: WEIGHTS_BYTES - 5])
    server.feira("pull", f"feira/pulled:{id}", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(folder)


def test_bytes_that_went_wrong_on_the_way_are_thrown_away(server: Server, pushed: tuple[Path, str], tmp_path: Path):
    folder, id = pushed
    content = (folder / "weights/model.bin").read_bytes()
    part = tmp_path / "out" / ".feira-pull" / hashlib.sha256(content).hexdigest()
    part.parent.mkdir(parents=True)
    part.write_bytes(b"X" + content[1:1000])
    done = server.feira("pull", f"feira/pulled:{id}", tmp_path / "out", check=False)
    assert done.returncode == 1 and "weights/" in done.stderr and not part.exists(), done
    assert not (tmp_path / "out" / "weights" / "model.bin").exists()
    server.feira("pull", f"feira/pulled:{id}", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(folder)


def test_what_is_there_is_replaced_only_when_asked_and_never_through_a_link(server: Server, pushed: tuple[Path, str], tmp_path: Path):
    _, id = pushed
    out, outside = tmp_path / "out", tmp_path / "outside"
    out.mkdir(), outside.mkdir()
    (out / "predict.py").write_text("mine")
    assert "--force" in server.feira("pull", f"feira/pulled:{id}", out, check=False).stderr
    assert (out / "predict.py").read_text() == "mine"
    (out / "weights").symlink_to(outside)
    refused = server.feira("pull", "--force", f"feira/pulled:{id}", out, check=False)
    assert refused.returncode == 1 and "link" in refused.stderr
    assert list(outside.iterdir()) == []


def test_a_blob_opens_only_with_a_version_that_names_it_and_that_the_caller_may_see(server: Server, api: Api, pushed: tuple[Path, str]):
    folder, id = pushed
    digest = "sha256:" + hashlib.sha256((folder / "predict.py").read_bytes()).hexdigest()
    manifest = api.get(f"/v1/models/feira/pulled/versions/{id}/manifest")
    assert hashlib.sha256(manifest.content).hexdigest() == id
    assert digest in [layer["digest"] for layer in manifest.json()["layers"]]
    blob = f"/v1/blobs/{digest}"
    whole = api.get(blob, params={"version": id})
    assert (whole.status_code, whole.content) == (200, (folder / "predict.py").read_bytes())
    part = api.get(blob, params={"version": id}, headers={"range": "bytes=3-6"})
    assert (part.status_code, part.content) == (206, whole.content[3:7])
    problem(api.get(blob, params={"version": id}, headers={"range": "bytes=999999-"}), 416)
    known = api.get(blob, params={"version": id}, headers={"if-none-match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    problem(api.get(blob), 400)
    problem(api.get(blob, params={"version": "0" * 64}), 404)
    problem(api.get(f"/v1/blobs/sha256:{'0' * 64}", params={"version": id}), 404)
    problem(api.get("/v1/blobs/sha256:..", params={"version": id}), 400)

    secret = server.push(copy("echo", folder.parent / "private", {"secret.txt": "of feira"}), "feira/pulled-private", "--private")["id"]
    stranger = server.account("stranger-who-pulls")
    named = f"/v1/blobs/sha256:{hashlib.sha256(b'of feira').hexdigest()}"
    assert api.get(named, params={"version": secret}).text == "of feira"
    problem(server.api(stranger).get(named, params={"version": secret}), 404)
    problem(server.api(stranger).get(f"/v1/models/feira/pulled-private/versions/{secret}/manifest"), 404)
    refused = server.feira("pull", f"feira/pulled-private:{secret}", folder.parent / "stolen", token=stranger, check=False)
    assert refused.returncode == 4, refused
    assert server.feira("pull", f"feira/pulled:{id}", folder.parent / "public", token=stranger).returncode == 0
