"""Released tools against the OCI API: skopeo and ORAS."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import oras.client
import pytest

from harness.api import Api
from harness.oci import CONFIG, FILE, INDEX, MANIFEST, Repository, descriptor, digest_of
from harness.projects import project
from harness.server import Server


@pytest.fixture(scope="module")
def host(server: Server) -> str:
    return server.url.removeprefix("http://")


@pytest.fixture
def skopeo(server: Server, tmp_path: Path) -> Callable[..., str]:
    """Runs skopeo as somebody who has logged in once."""
    program = shutil.which("skopeo")
    assert program, "tests/run installs it"
    authfile = tmp_path / "auth.json"

    def run(*arguments: object) -> str:
        command = [program, "--insecure-policy", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run("login", "--tls-verify=false", "--authfile", authfile, "--username", "feira", "--password", server.token, server.url.removeprefix("http://"))
    return lambda what, *rest: run(what, "--authfile", authfile, *rest)


def layout(folder: Path) -> str:
    """An OCI layout with one image of one layer, by hand. Returns its digest."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def keep(content: bytes) -> bytes:
        (blobs / hashlib.sha256(content).hexdigest()).write_bytes(content)
        return content

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("hello.txt")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"hello"))
    layer = keep(packed.getvalue())
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]}}
    config = keep(json.dumps(config).encode())
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    }
    manifest = keep(json.dumps(manifest).encode())
    named = descriptor(MANIFEST, manifest, annotations={"org.opencontainers.image.ref.name": "it"})
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}))
    (folder / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    return digest_of(manifest)


def digest_in(folder: Path) -> str:
    (named,) = json.loads((folder / "index.json").read_text())["manifests"]
    return named["digest"]


def test_skopeo_copies_an_image_in_and_out_with_equal_digests(skopeo: Callable[..., str], host: str, tmp_path: Path):
    digest = layout(tmp_path / "in")
    skopeo("copy", "--preserve-digests", "--dest-tls-verify=false", f"oci:{tmp_path}/in:it", f"docker://{host}/feira/skopeo:v1")
    skopeo("copy", "--preserve-digests", "--src-tls-verify=false", f"docker://{host}/feira/skopeo:v1", f"oci:{tmp_path}/out:it")
    assert digest_in(tmp_path / "out") == digest
    told = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{host}/feira/skopeo:v1"))
    assert (told["Digest"], told["RepoTags"]) == (digest, ["v1"])


def test_skopeo_copies_a_version_to_another_model_where_it_has_the_same_id_and_runs(
    skopeo: Callable[..., str], host: str, api: Api, published: Callable[[str], str]
):
    id = published("echo").split(":")[1]
    skopeo(
        "copy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", f"docker://{host}/feira/echo:latest", f"docker://{host}/feira/skopeod:latest"
    )
    assert api.get("/v1/models/feira/skopeod").json()["latest_version"]["id"] == id
    assert api.run("feira/skopeod:" + id, {"text": "copied"})["output"] == "copied"


def test_skopeo_lists_tags_and_deletes(skopeo: Callable[..., str], host: str, api: Api, tmp_path: Path):
    layout(tmp_path / "in")
    for tag in ("v1", "v2"):
        skopeo("copy", "--preserve-digests", "--dest-tls-verify=false", f"oci:{tmp_path}/in:it", f"docker://{host}/feira/skopeo-tags:{tag}")
    listed = json.loads(skopeo("list-tags", "--tls-verify=false", f"docker://{host}/feira/skopeo-tags"))
    assert listed["Tags"] == ["v1", "v2"]
    skopeo("delete", "--tls-verify=false", f"docker://{host}/feira/skopeo-tags:v1")
    assert Repository(api, "feira/skopeo-tags").tags().json()["tags"] == []


def test_skopeo_pulls_what_is_public_without_logging_in(host: str, api: Api, tmp_path: Path):
    api.post("/v1/models", json={"owner": "feira", "name": "skopeo-public", "visibility": "public", "hardware": "cpu"})
    digest = layout(tmp_path / "in")
    content = {path.name: path.read_bytes() for path in (tmp_path / "in" / "blobs" / "sha256").iterdir()}
    repository = Repository(api, "feira/skopeo-public")
    for blob in content.values():
        repository.push(blob)
    assert repository.put("v1", content[digest.removeprefix("sha256:")]).status_code == 201
    target = f"oci:{tmp_path}/out:it"
    source = f"docker://{host}/feira/skopeo-public:v1"
    command = ["skopeo", "--insecure-policy", "copy", "--preserve-digests", "--src-no-creds", "--src-tls-verify=false", source, target]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert digest_in(tmp_path / "out") == digest


def test_what_oras_pushes_runs_and_oras_pulls_it_back(
    server: Server, host: str, api: Api, published: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The same files and the same config as `feira push` sent, in a manifest as ORAS writes it."""
    published("echo")
    source = Repository(api, "feira/echo")
    manifest = source.manifest("latest").json()
    (tmp_path / "config.json").write_bytes(source.blob(manifest["config"]["digest"]).content)
    names = ("cog.yaml", "predict.py", "requirements.lock")
    for name in names:
        shutil.copy(project("echo") / name, tmp_path / name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    client = oras.client.OrasClient(hostname=host, insecure=True)
    client.login(username="feira", password=server.token, hostname=host)
    target = f"{host}/feira/oras:v1"
    pushed = client.push(target=target, files=[f"{name}:{FILE}" for name in names], manifest_config=f"config.json:{CONFIG}", quiet=True)
    assert pushed.status_code == 201
    digest = Repository(api, "feira/oras").manifest("v1").headers["docker-content-digest"]
    assert api.run(f"feira/oras:{digest.removeprefix('sha256:')}", {"text": "over ORAS"})["output"] == "over ORAS"

    pulled = client.pull(target=target, outdir=str(tmp_path / "out"))
    assert {Path(path).name: Path(path).read_bytes() for path in pulled} == {name: (tmp_path / name).read_bytes() for name in names}
