"""Signatures over versions: made by OpenSSF's own tool and by ours, checked by both, required by deployments."""

import base64
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.api import Api, problem
from harness.projects import copy
from harness.server import Server
from harness.tools import python

MAKE_PAIR = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
key = ec.generate_private_key(ec.SECP256R1())
Path(sys.argv[1]).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
Path(sys.argv[2]).write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
"""
SIGNING = python("signing", Path(__file__).resolve().parent.parent / "requirements-signing.txt")


class Pair(NamedTuple):
    private: Path
    public: Path


def make_pair(folder: Path, name: str) -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.pub")
    subprocess.run([SIGNING, "-c", MAKE_PAIR, *pair], check=True)
    return pair


def model_signing(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SIGNING.parent / "model_signing", *map(str, arguments)], capture_output=True, text=True)


def signed(folder: Path, pair: Pair) -> dict:
    """What OpenSSF's tool makes of a folder."""
    signature = folder.parent / f"{folder.name}.{pair.private.stem}.sig"
    done = model_signing("sign", "key", folder, "--private_key", pair.private, "--signature", signature)
    assert done.returncode == 0, done.stderr
    return json.loads(signature.read_text())


class Publisher(NamedTuple):
    """An account with a key of its own, and what it publishes."""

    server: Server
    api: Api
    name: str
    pair: Pair

    def push(self, folder: Path, model: str, *options: str) -> str:
        return self.server.push(folder, f"{self.name}/{model}", *options, token=self.api.token)["id"]

    def sign(self, model: str, version: str, bundle: dict):
        return self.api.post(f"/v1/models/{self.name}/{model}/versions/{version}/signatures", json=bundle)

    def signatures(self, model: str, version: str) -> dict[str, dict]:
        shown = self.api.get(f"/v1/models/{self.name}/{model}/versions/{version}").json()["signatures"]
        return {signature["signer"]: signature for signature in shown}

    def key(self) -> str:
        answer = self.api.post("/v1/account/keys", json={"name": "laptop", "public_key": self.pair.public.read_text()})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def revoke(self, since: str | None = None) -> None:
        answer = self.api.delete(f"/v1/account/keys/{self.key_id()}", params={"since": since} if since else {})
        assert answer.status_code == 200, answer.text

    def key_id(self) -> str:
        return self.api.get("/v1/account/keys").json()["keys"][0]["id"]


@pytest.fixture
def publisher(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Publisher:
    name = f"signer-{os.urandom(4).hex()}"
    publisher = Publisher(server, server.api(server.account(name, "1")), name, make_pair(tmp_path, "mine"))
    publisher.key()
    return publisher


def unlike(folder: Path) -> Path:
    """A project that no other test publishes."""
    return copy("echo", folder, {"note.txt": os.urandom(8).hex()})


def test_a_signature_of_openssfs_tool_is_accepted_shown_and_checked(publisher: Publisher, tmp_path: Path):
    folder = unlike(tmp_path)
    version = publisher.push(folder, "signed")
    model = f"{publisher.name}/signed"
    assert publisher.sign("signed", version, signed(folder, publisher.pair)).status_code == 201
    shown = publisher.signatures("signed", version)
    assert set(shown) == {"operator", "publisher"} and {each["status"] for each in shown.values()} == {"valid"}
    assert (shown["publisher"]["key"], shown["publisher"]["key_name"]) == (publisher.key_id(), "laptop")
    page = publisher.api.get(f"/{model}", headers={"accept": "text/html"}).text
    assert "signed by its publisher" in page and publisher.key_id()[:12] in page

    verify = ["verify", f"{model}:{version}", "--key", publisher.pair.public, "--files", folder]
    assert publisher.server.feira(*verify, check=False).returncode == 0
    (folder / "predict.py").write_bytes((folder / "predict.py").read_bytes() + b"#")
    changed = publisher.server.feira(*verify, check=False)
    assert changed.returncode == 1 and "predict.py has other bytes" in changed.stdout
    other = publisher.server.feira("verify", model, "--key", make_pair(tmp_path, "other").public, check=False)
    assert other.returncode == 1 and "FAILED" in other.stdout


def test_what_is_signed_here_openssfs_tool_verifies(publisher: Publisher, tmp_path: Path):
    folder = unlike(tmp_path)
    version = publisher.push(folder, "exported", "--sign", str(publisher.pair.private))
    listed = publisher.api.get(f"/v1/models/{publisher.name}/exported/versions/{version}/signatures").json()["signatures"]
    signature = tmp_path / "exported.sig"
    signature.write_text(json.dumps(next(each["bundle"] for each in listed if each["signer"] == "publisher")))
    verify = ["verify", "key", folder, "--signature", signature, "--public_key", publisher.pair.public]
    assert model_signing(*verify).returncode == 0
    (folder / "predict.py").write_bytes(b"changed")
    assert model_signing(*verify).returncode != 0


def test_a_version_may_come_with_its_signature_or_not_at_all(publisher: Publisher, tmp_path: Path):
    folder = unlike(tmp_path)
    pushed = publisher.push(folder, "first")
    manifest = publisher.api.get(f"/v1/models/{publisher.name}/first/versions/{pushed}/manifest").json()
    schema = publisher.api.get(f"/v1/models/{publisher.name}/first/versions/{pushed}").json()["openapi_schema"]
    files = [
        {"path": layer["annotations"]["org.opencontainers.image.title"], "digest": layer["digest"], "size": layer["size"]}
        for layer in manifest["layers"]
    ]
    assert publisher.api.post("/v1/models", json={"owner": publisher.name, "name": "whole", "visibility": "public", "hardware": "cpu"}).status_code == 201
    body = {"config": {"protocol": "cog", "predictor": "predict.py:Predictor", "openapi_schema": schema}, "files": files}
    wrong = {**body, "signature": signed(copy("files", tmp_path), publisher.pair)}
    problem(publisher.api.post(f"/v1/models/{publisher.name}/whole/versions", json=wrong), 422)
    assert publisher.api.get(f"/v1/models/{publisher.name}/whole/versions").json()["results"] == []
    right = {**body, "signature": signed(folder, publisher.pair)}
    published = publisher.api.post(f"/v1/models/{publisher.name}/whole/versions", json=right)
    assert published.status_code == 201, published.text
    assert publisher.signatures("whole", published.json()["id"])["publisher"]["status"] == "valid"


def test_a_changed_byte_anothers_key_and_a_revoked_key_are_refused(publisher: Publisher, tmp_path: Path):
    folder = unlike(tmp_path)
    version = publisher.push(folder, "refused")
    bundle = signed(folder, publisher.pair)

    other = copy("echo", tmp_path / "other", {"note.txt": "another"})
    assert "signed with other bytes: note.txt" in problem(publisher.sign("refused", version, signed(other, publisher.pair)), 422)["detail"]
    statement = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    forged = json.loads(json.dumps(bundle))
    forged["dsseEnvelope"]["payload"] = base64.b64encode(statement.replace(b"note.txt", b"mote.txt")).decode()
    assert "changed" in problem(publisher.sign("refused", version, forged), 422)["detail"]
    strange = signed(folder, make_pair(tmp_path, "strange"))
    assert "register it first" in problem(publisher.sign("refused", version, strange), 422)["detail"]
    stranger = publisher._replace(api=publisher.server.api(publisher.server.account(f"{publisher.name}-too")))
    problem(stranger.sign("refused", version, bundle), 403)
    problem(publisher.sign("refused", "0" * 64, bundle), 404)
    problem(publisher.sign("refused", version, {}), 422)

    assert publisher.sign("refused", version, bundle).status_code == 201
    publisher.revoke()
    assert publisher.signatures("refused", version)["publisher"]["status"] == "revoked"
    assert "revoked" in problem(publisher.sign("refused", version, bundle), 422)["detail"]
    checked = publisher.server.feira("verify", f"{publisher.name}/refused:{version}", check=False)
    assert checked.returncode == 1 and "is revoked since" in checked.stdout


def test_the_operators_keys_are_published_and_stay_after_a_rotation(tmp_path: Path):
    with Server(tmp_path) as server:
        first = server.push(unlike(tmp_path / "first"), "feira/rotated")["id"]
        [old] = server.api(None).get("/v1/keys").json()["keys"]
        assert old["current"] and (server.home / "signing-key").stat().st_mode & 0o777 == 0o600
        server.stop()
        server.options += ["--signing-key", str(make_pair(tmp_path, "rotated").private)]
        server.start()
        second = server.push(unlike(tmp_path / "second"), "feira/rotated")["id"]
        keys = {key["id"]: key for key in server.api(None).get("/v1/keys").json()["keys"]}
        assert len(keys) == 2 and not keys[old["id"]]["current"]
        (tmp_path / "old.pub").write_text(old["public_key"])
        for version, code in ((first, 0), (second, 1)):
            assert server.feira("verify", f"feira/rotated:{version}").returncode == 0
            pinned = server.feira("verify", f"feira/rotated:{version}", "--operator-key", tmp_path / "old.pub", check=False)
            assert pinned.returncode == code, pinned.stdout


def released(publisher: Publisher, name: str, version: str, **more: object):
    body = {"name": name, "model": f"{publisher.name}/deployed", "version": version, "hardware": "cpu", "min_instances": 0, "max_instances": 1}
    return publisher.api.post("/v1/deployments", json={**body, **more})


def test_a_deployment_that_requires_signatures_runs_nothing_else(publisher: Publisher, tmp_path: Path):
    folders = [unlike(tmp_path / name) for name in ("one", "two")]
    one, two = (publisher.push(folder, "deployed") for folder in folders)
    refused = problem(released(publisher, "careful", one, require_signature=True), 422)
    assert "no valid signature" in json.dumps(refused)

    assert publisher.sign("deployed", one, signed(folders[0], publisher.pair)).status_code == 201
    created = released(publisher, "careful", one, require_signature=True)
    assert created.status_code == 200 and created.json()["current_release"]["configuration"]["require_signature"] is True
    path = f"/v1/deployments/{publisher.name}/careful"
    run: Callable[[], dict] = lambda: publisher.api.post(f"{path}/predictions", json={"input": {"text": "x"}}, headers={"prefer": "wait"})
    assert publisher.api.ended(run().json()["id"])["output"] == "x"

    problem(publisher.api.patch(path, json={"version": two}), 422)
    publisher.server.feira("sign", f"{publisher.name}/deployed:{two}", "--key", publisher.pair.private, token=publisher.api.token)
    assert publisher.api.patch(path, json={"version": two}).status_code == 200

    # What was released before the key was revoked runs on; nothing new is released.
    publisher.revoke()
    assert publisher.api.ended(run().json()["id"])["output"] == "x"
    assert "no valid signature" in json.dumps(problem(publisher.api.patch(path, json={"version": one}), 422))
    # A key that was never to be believed takes what it signed with it.
    publisher.revoke("2020-01-01T00:00:00Z")
    assert "no valid signature" in problem(run(), 422)["detail"]
    assert publisher.api.patch(path, json={"require_signature": False}).status_code == 200
    assert publisher.api.ended(run().json()["id"])["output"] == "x"
