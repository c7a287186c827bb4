"""`feira push`: what moves, what an interrupted one costs, what it says before, and what it leaves out."""

import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from harness.api import Api, problem
from harness.meter import Meter
from harness.projects import copy
from harness.server import Server, binary

MIB = 1024 * 1024
# Headers, questions and the manifest.
TALK_BYTES_MAX = 128 * 1024


def noise(seed: str, bytes_count: int) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(bytes_count)


def client(server: Server, url: str) -> dict[str, str]:
    """The surroundings of a `feira` that reaches the server by another address."""
    folder = server.home.parent
    told = {"FEIRA_HOST": url, "FEIRA_API_TOKEN": server.token, "FEIRA_HOME": str(folder / "client"), "XDG_CONFIG_HOME": str(folder / "config")}
    return {**os.environ, **told}


def push(server: Server, meter: Meter, folder: Path, model: str, *options: str) -> dict:
    command = [binary(), "push", "--json", *options, folder, model]
    done = subprocess.run(command, env=client(server, meter.url), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_second_version_that_changes_one_file_of_a_mebibyte_moves_a_mebibyte(server: Server, tmp_path: Path):
    files = {f"weights/{n}.bin": noise(f"part {n}", MIB) for n in range(20)}
    folder = copy("weights", tmp_path, files)
    with Meter(server.url) as meter:
        first = push(server, meter, folder, "feira/moves")
        assert 20 * MIB < meter.up < 20 * MIB + 20 * TALK_BYTES_MAX
    (folder / "weights/7.bin").write_bytes(noise("changed", MIB))
    with Meter(server.url) as meter:
        second = push(server, meter, folder, "feira/moves")
        assert MIB < meter.up < MIB + TALK_BYTES_MAX, meter.up
    assert (second["sent_files"], second["sent_bytes"]) == (1, MIB) and second["id"] != first["id"]
    with Meter(server.url) as meter:
        again = push(server, meter, folder, "feira/moves")
        assert meter.up < TALK_BYTES_MAX
    assert (again["id"], again["sent_bytes"]) == (second["id"], 0)


def test_after_kill_9_a_push_sends_only_what_is_missing(server: Server, tmp_path: Path):
    folder = copy("weights", tmp_path, {"weights/model.bin": noise("killed", 48 * MIB)})
    with Meter(server.url, enough=28 * MIB) as cut:
        process = subprocess.Popen([binary(), "push", folder, "feira/killed"], env=client(server, cut.url), stderr=subprocess.DEVNULL)
        assert cut.stalled.wait(120)
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
    with Meter(server.url) as meter:
        done = push(server, meter, folder, "feira/killed")
        # Pieces have 8 MiB: three were whole, and what came of the fourth was kept as well.
        assert meter.up < 24 * MIB + TALK_BYTES_MAX, meter.up
    pulled = tmp_path / "pulled"
    server.feira("pull", f"feira/killed:{done['id']}", pulled)
    assert (pulled / "weights/model.bin").read_bytes() == (folder / "weights/model.bin").read_bytes()


def test_a_dry_run_says_what_would_be_and_writes_nothing(server: Server, api: Api, tmp_path: Path):
    folder = copy("echo", tmp_path, {"note.txt": "never sent before"})
    told = json.loads(server.feira("push", "--json", "--dry-run", folder, "feira/dry").stdout)
    assert told["dry_run"] and told["creates_model"] and told["breaks"] == []
    assert "note.txt" in [blob["path"] for blob in told["absent"]]
    assert told["absent_bytes"] == sum(blob["size"] for blob in told["absent"])
    problem(api.get("/v1/models/feira/dry"), 404)
    for blob in told["absent"]:
        assert api.head(f"/v1/blobs/{blob['digest']}").status_code == 404
    said = server.feira("push", "--dry-run", folder, "feira/dry")
    assert said.stdout.strip() == f"feira/dry:{told['id']}" and "nothing was written" in said.stderr
    done = server.push(folder, "feira/dry")
    assert (done["id"], done["sent_bytes"]) == (told["id"], told["absent_bytes"]), "the id is known before"


PREDICT = """
from cog import BasePredictor, Input

class Predictor(BasePredictor):
    def predict(self, {inputs}) -> {output}:
        return {value}
"""


def predictor(inputs: str, output: str = "str", value: str = "text") -> str:
    return PREDICT.format(inputs=inputs, output=output, value=value)


def test_what_a_new_schema_breaks_is_said_before_anything_is_sent(server: Server, tmp_path: Path):
    was = predictor("text: str, steps: int = Input(default=5, ge=1, le=50), style: str = Input(default='a', choices=['a', 'b'])")
    folder = copy("echo", tmp_path, {"predict.py": was})
    assert server.push(folder, "feira/breaks")["breaks"] == []
    is_ = predictor("seed: int, steps: int = Input(default=5, ge=1, le=20), style: str = Input(default='a', choices=['a'])", "int", "1")
    (folder / "predict.py").write_text(is_)
    said = server.feira("push", "--dry-run", folder, "feira/breaks").stderr
    for part in ("`text` is gone", "20 as its maximum, which was 50", 'no longer takes "b"', "`seed` must now be given", "was string, and is now integer"):
        assert part in said, said
    breaks = server.push(folder, "feira/breaks")["breaks"]
    assert {each["kind"] for each in breaks} == {"input_removed", "input_required", "input_narrowed", "output_changed"}
    assert server.push(folder, "feira/breaks")["breaks"] == [], "against itself there is nothing to break"
