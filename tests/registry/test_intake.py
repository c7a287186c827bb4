"""What is looked into before a version is published: archives and safetensors that lie are refused, pickles are told of."""

import collections
import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import httpx
import pytest

from harness.api import Api, problem
from harness.server import Server

MODEL = "feira/intake"
BUNDLE = 'protocol = "cog"\ncommand = ["python3", "server.py"]\nschema = "schema.json"\n'
SCHEMA = {"openapi": "3.0.2", "components": {"schemas": {"Input": {"type": "object", "properties": {}}, "Output": {"type": "string"}}}}


class Runs:
    """What a pickle would do to whoever loads it."""

    def __reduce__(self):
        return os.system, ("touch /tmp/feira-was-here",)


def tar(*names: str, mode: str = "w", format: int = tarfile.PAX_FORMAT, **attributes: object) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=format) as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 7
            for attribute, value in attributes.items():
                setattr(entry, attribute, value)
            archive.addfile(entry, io.BytesIO(b"content"))
    return file.getvalue()


def zipped(*names: str, **attributes: object) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        # Python warns of a name twice, and writes it.
        warnings.simplefilter("ignore")
        for name in names:
            entry = zipfile.ZipInfo(name)
            for attribute, value in attributes.items():
                setattr(entry, attribute, value)
            archive.writestr(entry, b"content", zipfile.ZIP_DEFLATED)
    return file.getvalue()


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(8):
            archive.writestr(str(number), bytes(16 << 20))
    return file.getvalue()


def tensors(header: object, data: int) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data)


def tensor(dtype: str, shape: list[int], *offsets: int) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def twice(name: str, value: dict) -> bytes:
    field = f"{json.dumps(name)}: {json.dumps(value)}"
    return f"{{{field}, {field}}}".encode()


def pytorch(content: object) -> bytes:
    """As `torch.save` lays it out: a pickle among files that are only stored."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("model/data.pkl", pickle.dumps(content, 2))
        archive.writestr("model/data/0", bytes(1_000))
    return file.getvalue()


@pytest.fixture(scope="module")
def model(server: Server) -> str:
    server.feira("models", "create", MODEL)
    return MODEL


def publish(api: Api, files: dict[str, bytes]) -> httpx.Response:
    named = []
    for path, content in {"server.py": b"#", **files}.items():
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert api.put(f"/v1/blobs/{digest}", content=content).is_success
        named.append({"path": path, "digest": digest, "size": len(content)})
    config = {"protocol": "cog", "command": ["python3", "server.py"], "openapi_schema": SCHEMA}
    return api.post(f"/v1/models/{MODEL}/versions", json={"config": config, "files": named})


HOSTILE = {
    "a tar that leaves its folder": ("a.tar", tar("../evil")),
    "a tar from the root": ("a.tar", tar("/tmp/evil")),
    "a tar with a link": ("a.tar", tar("a", type=tarfile.SYMTYPE, linkname="/etc", size=0)),
    "a tar with a hard link": ("a.tar", tar("a", type=tarfile.LNKTYPE, linkname="/etc/passwd", size=0)),
    "a tar with a device": ("a.tar", tar("a", type=tarfile.CHRTYPE, size=0)),
    "a tar with a pipe": ("a.tar", tar("a", type=tarfile.FIFOTYPE, size=0)),
    "a tar with a name twice": ("a.tar", tar("a", "a")),
    "a tar with two cases": ("a.tar", tar("a", "A")),
    "a tar whose headers disagree": ("a.tar", tar("good", pax_headers={"path": "evil"})),
    "a tar that was cut off": ("a.tar", tar("a")[:700]),
    "a packed tar that leaves its folder": ("a.tar.gz", tar("../evil", mode="w:gz")),
    "a packed tar of nothing but zeros": ("a.tgz", gzip.compress(bytes(200 << 20), 9)),
    "a zip that leaves its folder": ("a.zip", zipped("../evil")),
    "a zip from the root": ("a.zip", zipped("/tmp/evil")),
    "a zip with a link": ("a.zip", zipped("a", external_attr=0o120777 << 16)),
    "a zip with a name twice": ("a.zip", zipped("a", "a")),
    "a zip with two cases": ("a.zip", zipped("a", "A")),
    "a zip after a script": ("a.zip", b"#!/bin/sh\n" + zipped("a")),
    "a zip before something": ("a.zip", zipped("a") + b"evil"),
    "a zip of nothing but zeros": ("a.zip", bomb()),
    "no zip": ("a.zip", b"content"),
    "a training's weights that leave their folder": ("weights", tar("../evil")),
    "a training's packed weights with a link": ("weights", tar("a", mode="w:gz", type=tarfile.SYMTYPE, linkname="/etc", size=0)),
    "a training's zipped weights that leave": ("weights", zipped("../evil")),
    "tensors beyond the end": ("a.safetensors", tensors({"a": tensor("U8", [9], 0, 9)}, 8)),
    "tensors over one another": ("a.safetensors", tensors({"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 2, 6)}, 6)),
    "tensors with a gap": ("a.safetensors", tensors({"a": tensor("U8", [4], 2, 6)}, 6)),
    "tensors of another length": ("a.safetensors", tensors({"a": tensor("F32", [4], 0, 4)}, 4)),
    "tensors with a name twice": ("a.safetensors", tensors(twice("a", tensor("U8", [1], 0, 1)), 1)),
    "tensors without a header": ("a.safetensors", b"content"),
}


@pytest.mark.parametrize("lie", HOSTILE)
def test_a_file_that_lies_is_refused_with_its_path_and_the_reason(api: Api, model: str, lie: str):
    path, content = HOSTILE[lie]
    told = problem(publish(api, {path: content}), 422)
    assert told["title"] == "Version refused" and f'"{path}" is refused: ' in told["detail"], told


def test_after_all_of_them_nothing_was_published_and_nothing_unpacked(api: Api, model: str):
    assert api.get(f"/v1/models/{MODEL}/versions").json()["results"] == []
    assert not Path("/tmp/evil").exists() and not Path("/tmp/feira-was-here").exists()


def test_what_python_packs_and_saves_is_taken_without_a_word(api: Api, model: str):
    long = "d" * 90 + "/" + "f" * 90
    files = {
        "a.tar": tar("a", "b/c", "höhe", long),
        "gnu.tar": tar("a", long, format=tarfile.GNU_FORMAT),
        "a.tgz": tar("./a", long, mode="w:gz"),
        "a.zip": zipped("a", "b/höhe", long),
        "a.safetensors": tensors({"a": tensor("BF16", [2, 3], 0, 12), "__metadata__": {"format": "pt"}}, 12),
        "model.bin": b"GGUF" + bytes(100),
    }
    answer = publish(api, files)
    assert answer.status_code == 201 and "warnings" not in answer.json(), answer.text


def test_a_pickle_is_published_and_told_of_by_the_api_on_the_page_and_by_push(server: Server, api: Api, model: str, tmp_path: Path):
    (tmp_path / "feira.toml").write_text(BUNDLE)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "server.py").write_text("#")
    (tmp_path / "weights.pt").write_bytes(pytorch(collections.OrderedDict(a=1)))
    (tmp_path / "model.bin").write_bytes(pickle.dumps(Runs()))
    done = server.feira("push", tmp_path, MODEL)
    system = f"{os.system.__module__}.system"
    assert f"warning: model.bin: A pickle: loading it runs code, with what it imports: {system}" in done.stderr, done.stderr
    version = api.get(f"/v1/models/{MODEL}").json()["latest_version"]
    told = {warning["path"]: (warning["kind"], warning["imports"]) for warning in version["warnings"]}
    assert told == {"model.bin": ("pickle", [system]), "weights.pt": ("pickle", ["collections.OrderedDict"])}
    page = httpx.get(f"{server.url}/{MODEL}").text
    assert "2 files are pickles" in page and system in page
    assert not Path("/tmp/feira-was-here").exists()
