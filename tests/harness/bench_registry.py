"""`tests/bench registry`: a gibibyte pushed and pulled, beside curl to the same disk; and what a second version moves."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from harness.bench import aligned
from harness.bench_disk import DiskServer
from harness.meter import Meter
from harness.projects import copy
from harness.server import Server

MIB = 1024 * 1024
WEIGHTS_BYTES = 1024 * MIB
PARTS = 20
PEERS = ("peer: curl", "peer: curl, hashed")
HEADINGS = ("registry", "", "GB/s", "seconds", "to curl", "to curl, hashed")


class Weights:
    """Files of a gibibyte that no server has: all from one noise, told apart by their first bytes."""

    def __init__(self) -> None:
        block = hashlib.shake_128(b"weights").digest(MIB)
        self.rest = [bytes([n % 256]) + n.to_bytes(8, "big") + block[9:] for n in range(WEIGHTS_BYTES // MIB - 1)]
        self.made = 0

    def write(self, file: Path) -> None:
        self.made += 1
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as weights:
            weights.write(hashlib.shake_128(f"{self.made} {time.time_ns()}".encode()).digest(MIB))
            weights.writelines(self.rest)


def timed(work: Callable[[], object]) -> float:
    """What the round before left to the disk is not this one's to wait for."""
    os.sync()
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def curl(*arguments: object) -> None:
    subprocess.run(["curl", "--silent", "--fail", "--show-error", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def on_disk(file: Path) -> None:
    """curl leaves to the system when its file reaches the disk; `feira pull` does not."""
    with file.open("rb") as written:
        os.fsync(written)


class Moves:
    """A gibibyte up and down, by turns: curl between the bare server's folder and another, then Feira between its store and a project."""

    def __init__(self, server: Server, peer: DiskServer, folder: Path):
        self.server, self.peer, self.folder = server, peer, folder
        self.weights = Weights()
        self.seconds: dict[tuple[str, str], list[float]] = {}

    def round(self, number: int) -> None:
        project = copy("weights", self.folder / f"round-{number}", {})
        file = project / "weights" / "model.bin"
        self.weights.write(file)
        model = f"feira/bench-{number}"
        there = self.folder / "pulled"
        pushes = (
            lambda: self._curl_up(file, number),
            lambda: self._curl_up(file, number, hashed=True),
            lambda: self.server.push(project, model),
        )
        pulls = (
            lambda: self._curl_down(number),
            lambda: self._curl_down(number, hashed=True),
            lambda: self.server.feira("pull", model, there),
        )
        for what, works in (("push", pushes), ("pull", pulls)):
            # Disks have good and bad moments: nobody always comes first.
            for turn in range(len(works)):
                who = (number + turn) % len(works)
                self._note(what, (*PEERS, f"ours: feira {what}")[who], timed(works[who]))
        assert hashes(there / "weights" / "model.bin") == hashes(file), "what was pulled is not what was pushed"
        shutil.rmtree(there)
        shutil.rmtree(project)

    def _curl_up(self, file: Path, number: int, hashed: bool = False) -> None:
        """`hashed`: hashed where it lies, to be asked for by its hash, and where it arrives."""
        if hashed:
            hashes(file)
        curl("--upload-file", file, f"{self.peer.url}/{number}")
        if hashed:
            hashes(self.peer.folder / str(number))

    def _curl_down(self, number: int, hashed: bool = False) -> None:
        """`hashed`: hashed where it arrives."""
        down = self.folder / "down"
        curl("--output", down, f"{self.peer.url}/{number}")
        on_disk(down)
        if hashed:
            hashes(down)
        down.unlink()

    def _note(self, what: str, who: str, seconds: float) -> None:
        self.seconds.setdefault((what, who), []).append(seconds)
        print(f"{what:5} {who:18} {seconds:6.2f} s", file=sys.stderr)

    def rows(self) -> list[tuple[str, ...]]:
        rows = []
        for (what, who), seconds in sorted(self.seconds.items(), key=lambda told: (told[0][0] == "pull", told[0][1].startswith("ours"))):
            taken = median(seconds)
            ratios = [f"{median(self.seconds[what, peer]) / taken:.2f}" if who.startswith("ours") else "" for peer in PEERS]
            rows.append((what, who, f"{WEIGHTS_BYTES / taken / 1e9:.2f}", f"{taken:.2f}", *ratios))
        return rows


def hashes(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def second_version(server: Server, folder: Path) -> str:
    """Bytes that go up for a version, and for the next one, in which one file of a mebibyte is another."""
    noise = lambda seed: hashlib.shake_128(seed.encode()).digest(MIB)
    project = copy("weights", folder, {f"weights/{n}.bin": noise(f"part {n}") for n in range(PARTS)})
    moved = []
    for change in (None, "changed"):
        if change:
            (project / "weights" / "7.bin").write_bytes(noise(change))
        with Meter(server.url) as meter:
            server.push(project, "feira/bench-moves", url=meter.url)
            moved.append(meter.up)
    return f"{PARTS} files of 1 MiB: the first version moves {moved[0]:,} bytes up, the second, with one file changed, {moved[1]:,}"


def main(rounds: str) -> None:
    with tempfile.TemporaryDirectory(prefix="feira-bench-") as made:
        folder = Path(made)
        os.chmod(folder, 0o711)
        kept = folder / "peer"
        kept.mkdir()
        with Server(folder) as server, DiskServer(kept) as peer:
            moves = Moves(server, peer, folder)
            for number in range(int(rounds)):
                moves.round(number)
            moved = second_version(server, folder / "moves")
    print(f"{rounds} rounds of 1 GiB, medians; {os.cpu_count()} processors; all on one disk; what is written is on it before the clock stops\n")
    print(aligned([HEADINGS, *moves.rows()]))
    print(f"\n{moved}")


if __name__ == "__main__":
    main(*sys.argv[1:])
