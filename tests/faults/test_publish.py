"""kill -9 in the middle of a publication: a version is there whole or not at all, and pushing again makes it."""

import hashlib
import json
import os
import random
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from harness.server import Server, binary

ROUNDS = int(os.environ.get("FEIRA_FAULT_PUBLISHES", "50"))
FILES = 6
FILE_BYTES = 200_000
# More than is sent in one piece, so that an upload can be caught between two.
LARGE_BYTES = 20 << 20
STEP_SECONDS_MAX = 60
MODEL = "feira/killed"

BUNDLE = """
protocol = "cog"
command = ["python3", "server.py"]
schema = "schema.json"
"""
SCHEMA = {"openapi": "3.0.2", "components": {"schemas": {"Input": {"type": "object", "properties": {}}, "Output": {"type": "string"}}}}


def project(folder: Path, seed: int) -> Path:
    """A project of files that no other has, made in no time."""
    folder.mkdir()
    (folder / "feira.toml").write_text(BUNDLE)
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    (folder / "server.py").write_text(f"# {seed}\n")
    for number in range(FILES):
        content = hashlib.shake_128(f"{seed}/{number}".encode()).digest(FILE_BYTES if number else LARGE_BYTES)
        (folder / f"weights-{number}.bin").write_bytes(content)
    return folder


class Steps:
    """What a server's disk shows of a publication, whose version and digests another server has told beforehand."""

    def __init__(self, home: Path, id: str, manifest: dict):
        self.home = home
        self.id = id
        self.files = [blob(home, layer["digest"]) for layer in manifest["layers"]]
        self.config = blob(home, manifest["config"]["digest"])
        self.manifest = blob(home, f"sha256:{id}")

    def all(self) -> dict[str, Callable[[], bool]]:
        return {
            "an upload has begun": lambda: any((self.home / "uploads").glob("*")),
            "a file is there": lambda: any(map(os.path.exists, self.files)),
            "most files are there": lambda: sum(map(os.path.exists, self.files)) >= FILES,
            "all files are there": lambda: all(map(os.path.exists, self.files)),
            "the config is there": lambda: os.path.exists(self.config),
            "the manifest is there": lambda: os.path.exists(self.manifest),
            "the version is there": lambda: self.id in versions(self.home),
        }


def test_killed_at_every_step_no_version_is_there_that_is_not_whole(tmp_path: Path, capsys: pytest.CaptureFixture):
    seed = int(os.environ.get("FEIRA_FAULT_SEED", time.time_ns() % 1_000_000))
    dice = random.Random(seed)
    began = time.monotonic()
    caught: Counter[str] = Counter()
    seen: set[str] = set()
    (tmp_path / "told").mkdir()
    (tmp_path / "killed").mkdir()
    with Server(tmp_path / "told") as told, Server(tmp_path / "killed") as killed:
        killed.feira("models", "create", MODEL)
        for round in range(ROUNDS):
            folder = project(tmp_path / f"project-{round}", seed + round)
            id = told.push(folder, MODEL)["id"]
            steps = Steps(killed.home, id, versions(told.home)[id])
            name, has_come = list(steps.all().items())[round % len(steps.all())]
            # Between two steps, too.
            later = dice.choice([0, 0, dice.uniform(0, 0.02)])
            kill_when(killed, folder, has_come, later)
            killed.start()
            there = versions(killed.home)
            new = {each: manifest for each, manifest in there.items() if each not in seen}
            assert broken(killed.home, new) == [], f"killed when {name}, round {round}, seed {seed}"
            caught[f"{name}, and the version {'is' if id in there else 'is not'}"] += 1
            assert (listed(killed, id) == 200) == (id in there)
            assert killed.push(folder, MODEL)["id"] == id, f"pushed again after {name}, round {round}, seed {seed}"
            seen.add(id)
        there = versions(killed.home)
        assert set(there) == seen and broken(killed.home, there) == []
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\nkill-9 in a publication, n={ROUNDS}, faults injected={ROUNDS}, violations=0, seed={seed}, seconds={seconds:.0f}")
        for step, count in sorted(caught.items()):
            print(f"  {count:3} when {step} visible")
    assert any(step.endswith("is not") for step in caught) and any(step.endswith("is") for step in caught), "the faults all came at one side"


def kill_when(server: Server, folder: Path, has_come: Callable[[], bool], later: float) -> None:
    """Pushes, and ends the server as a power cut would as soon as its disk shows a step, or a little later; then the push as well."""
    environment = {**os.environ, "FEIRA_HOST": server.url, "FEIRA_API_TOKEN": server.token, "FEIRA_HOME": str(folder.parent / "client")}
    push = subprocess.Popen(
        [binary(), "push", folder, MODEL], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    end = time.monotonic() + STEP_SECONDS_MAX
    while not has_come():
        assert time.monotonic() < end, f"the step never came; the push said {push.stderr.read().decode() if push.poll() is not None else '…'}"
    until_later(later)
    server.process.kill()
    server.process.wait()
    push.kill()
    push.wait()


def until_later(seconds: float) -> None:
    """Passes time more finely than the scheduler would."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def blob(home: Path, digest: str) -> str:
    algorithm, hex = digest.split(":")
    return str(home / "blobs" / algorithm / hex[:2] / hex[2:])


def versions(home: Path) -> dict[str, dict]:
    """The manifests of the versions that a server's database has."""
    with closing(sqlite3.connect(f"file:{home / 'feira.db'}?mode=ro", uri=True, timeout=10)) as database:
        rows = database.execute("select id, manifest from version where deleted_at is null").fetchall()
    return {id: json.loads(manifest) for id, manifest in rows}


def broken(home: Path, there: dict[str, dict]) -> list[str]:
    """Each blob of a version that is not there, or has other bytes than its digest says."""
    found = []
    for id, manifest in there.items():
        for digest in [f"sha256:{id}", manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]:
            path = Path(blob(home, digest))
            if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest.removeprefix("sha256:"):
                found.append(f"{id}: {digest}")
    return found


def listed(server: Server, id: str) -> int:
    return server.api().get(f"/v1/models/{MODEL}/versions/{id}").status_code
