"""Models that take all they can get: the house stands, the others are served on, and nothing of them is left."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.api import Api
from harness.processes import descendants
from harness.projects import project
from harness.server import Server
from harness.wait import until

ROUNDS = int(os.environ.get("FEIRA_FAULT_BOMBS", "1"))
SCRATCH_BYTES_MAX = 256 << 20
# A cancelled process is asked for a second, and then ended; its files are removed after it.
GONE_SECONDS_MAX = 20
# What a bomb runs into by itself; the others go off until they are cancelled.
ENDS = {"memory": ("failed", "oom"), "disk": ("failed", "killed"), "descriptors": ("succeeded", None), "output": ("succeeded", None)}
# Those end by themselves, in an instance that goes on.
SURVIVED = {"descriptors", "output"}
KINDS = ["processes", "memory", "descriptors", "disk", "output", "deaf"]


class Neighbour(threading.Thread):
    """Calls an honest model again and again while others misbehave."""

    def __init__(self, api: Api, version: str):
        super().__init__(daemon=True)
        self.api, self.version = api, version
        self.served, self.wrong = 0, []
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            ended = self.api.run(self.version, {"text": "still here"})
            self.served += 1
            if ended["status"] != "succeeded":
                self.wrong.append(ended)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("bombs"), "--scratch-bytes-max", str(SCRATCH_BYTES_MAX)) as server:
        yield server


@pytest.fixture(scope="module")
def versions(server: Server) -> dict[str, str]:
    return {name: f"feira/{name}:{server.push(project(name), f'feira/{name}')['id']}" for name in ("bomb", "echo")}


@pytest.mark.parametrize("round", range(ROUNDS))
@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_takes_nobody_with_it(server: Server, versions: dict[str, str], kind: str, round: int, capsys: pytest.CaptureFixture):
    api = server.api()
    api.run(versions["echo"], {"text": "warm"})
    assert api.run(versions["bomb"], {"kind": "nothing"})["output"] == "taken"
    users = users_of(server, "bomb")
    neighbour = Neighbour(server.api(), versions["echo"])
    neighbour.start()
    began = time.monotonic()
    ended = explode(api, versions["bomb"], kind)
    seconds = time.monotonic() - began
    neighbour.enough.set()
    neighbour.join()
    if kind in ENDS:
        assert (ended["status"], ended.get("error_code")) == ENDS[kind], ended
    if kind not in SURVIVED:
        until(lambda: not processes_of(users), GONE_SECONDS_MAX)
        until(lambda: not files_of(server, users), GONE_SECONDS_MAX)
    assert (neighbour.wrong, neighbour.served > 0) == ([], True)
    assert api.run(versions["bomb"], {"kind": "nothing"})["output"] == "taken"
    with capsys.disabled():
        print(f"\n{kind}: {seconds:.1f} s, {neighbour.served} calls of a neighbour served meanwhile", end="")


def explode(api: Api, version: str, kind: str) -> dict:
    id = api.create(version, {"kind": kind})["id"]
    if kind in ENDS:
        return api.ended(id)
    api.running(id, "begins")
    api.cancel(id)
    ended = api.ended(id)
    assert ended["status"] == "canceled", ended
    return ended


def users_of(server: Server, name: str) -> set[int]:
    """The users that the kernel knows a project's instances as: each has its own, where root makes the walls."""
    predictor = (project(name) / "predict.py").read_bytes()
    found = set()
    for process in descendants(server.process.pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{process.pid}/cwd/predict.py").read_bytes() == predictor:
                found.add(os.stat(f"/proc/{process.pid}").st_uid)
    assert found and os.getuid() not in found, "the instance is not known by a user of its own"
    return found


def processes_of(users: set[int]) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid in users:
                found.append(process.name)
    return found


def files_of(server: Server, users: set[int]) -> list[str]:
    return [place.name for place in (server.home / "runner" / "scratch").iterdir() if place.stat().st_uid in users]
