"""The scenarios of `tests/bench`: what is set up, which cases take turns, and the table of what came out."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

from harness.bench_bombs import KINDS, Bomb
from harness.bench_peer import CogServer
from harness.projects import PREBUILT_HOOKS, copy
from harness.server import Server

CLIENTS = (1, 16, 64)
# What one measurement may take beyond the time it measures.
SPARE_SECONDS = 60
HEADINGS = ("scenario", "clients", "", "per second", "p50 ms", "p99 ms", "refused", "ratio", "added p50", "added p99")


class Figures(NamedTuple):
    per_second: float
    p50_ms: float
    p99_ms: float
    refused: int


@dataclass
class Target:
    """One side of a comparison: what it is called, and the request that is sent to it."""

    name: str
    address: str
    request: str
    rounds: dict[int, list[Figures]] = field(default_factory=lambda: {clients: [] for clients in CLIENTS})

    def measure(self, clients: int, seconds: float) -> None:
        order = {"address": self.address, "request": self.request, "clients": clients, "seconds": seconds}
        command = [sys.executable, "-m", "harness.bench_load"]
        done = subprocess.run(command, input=json.dumps(order), stdout=subprocess.PIPE, text=True, check=True, timeout=seconds + SPARE_SECONDS)
        self.rounds[clients].append(Figures(**json.loads(done.stdout)))

    def figures(self, clients: int) -> Figures:
        return Figures(*map(median, zip(*self.rounds[clients], strict=True)))


@dataclass
class Beside(Target):
    """The same calls while a bomb goes off."""

    bomb: Bomb | None = None

    def measure(self, clients: int, seconds: float) -> None:
        with self.bomb:
            super().measure(clients, seconds)


class Comparison(NamedTuple):
    scenario: str
    peer: Target
    ours: list[Target]
    clients: tuple[int, ...] = CLIENTS

    def measure(self, seconds: float, rounds: int) -> None:
        for clients in self.clients:
            for _ in range(rounds):
                for target in (self.peer, *self.ours):
                    target.measure(clients, seconds)

    def rows(self) -> list[tuple[str, ...]]:
        rows = []
        for clients in self.clients:
            peer = self.peer.figures(clients)
            rows.append((self.scenario, str(clients), self.peer.name, *_shown(peer), "", "", ""))
            for target in self.ours:
                ours = target.figures(clients)
                added = (f"{ours.p50_ms - peer.p50_ms:+.2f}", f"{ours.p99_ms - peer.p99_ms:+.2f}")
                rows.append(("", "", target.name, *_shown(ours), f"{ours.per_second / peer.per_second:.2f}", *added))
        return rows


def _shown(figures: Figures) -> tuple[str, ...]:
    return f"{figures.per_second:.0f}", f"{figures.p50_ms:.2f}", f"{figures.p99_ms:.2f}", f"{figures.refused:.0f}"


def echo(server: Server, folder: Path, cog: Path, measured: tuple[float, int]) -> Comparison:
    project = copy("echo", folder)
    pushed = server.push(project, "feira/bench-echo")
    # Pushing reads the schema; with it Cog's server checks inputs, as Feira does.
    schema = json.dumps(pushed["version"]["openapi_schema"])
    with CogServer(project, cog, schema, folder / "cog.log") as peer:
        text = {"text": "hello"}
        comparison = Comparison(
            "echo",
            Target("peer: cog 0.23.1", peer.address, post(peer.address, "/predictions", {"input": text})),
            [
                called("ours: same project", server, f"feira/bench-echo:{pushed['id']}", text),
                called("ours: hello-world", server, "feira/hello-world", {"name": "hello"}),
            ],
        )
        comparison.measure(*measured)
    return comparison


def hooks(server: Server, folder: Path, cog: Path, measured: tuple[float, int]) -> Comparison:
    before = '[[hooks]]\nname = "prompt-template"\ncomponent = "prompt-template.wasm"\nstages = ["before"]\n'
    after = '[[hooks]]\nname = "redact"\ncomponent = "redact.wasm"\nstages = ["stream", "after"]\n'
    targets = []
    for name, told in {"none": "", "before": before, "before-stream-after": before + after}.items():
        files: dict[str, str | bytes] = {f"{hook}.wasm": (PREBUILT_HOOKS / f"{hook}.wasm").read_bytes() for hook in ("prompt-template", "redact")}
        project = copy("talks", folder / name, {**files, "feira.toml": told, ".feiraignore": "*.wasm\n"})
        pushed = server.push(project, f"feira/bench-hooks-{name}")
        targets.append(called(f"hooks: {name}", server, f"feira/bench-hooks-{name}:{pushed['id']}", {"prompt": "hello"}))
    comparison = Comparison("hooks", targets[0], targets[1:])
    comparison.measure(*measured)
    return comparison


def bombs(server: Server, folder: Path, cog: Path, measured: tuple[float, int]) -> Comparison:
    text = {"text": "hello"}
    version = f"feira/bench-bombs-echo:{server.push(copy('echo', folder), 'feira/bench-bombs-echo')['id']}"
    bomb = f"feira/bench-bomb:{server.push(copy('bomb', folder), 'feira/bench-bomb')['id']}"
    alone = called("peer: alone", server, version, text)
    beside = [Beside(f"beside: {kind}", alone.address, alone.request, bomb=Bomb(server, bomb, kind)) for kind in KINDS]
    comparison = Comparison("bombs", alone, beside, clients=(1,))
    comparison.measure(*measured)
    return comparison


def called(name: str, server: Server, version: str, input: dict) -> Target:
    """A version behind the API, warm: it has run once."""
    with server.api() as api:
        ran = api.run(version, input)
        assert ran["status"] == "succeeded", ran
    address = server.url.removeprefix("http://")
    headers = {"authorization": f"Bearer {server.token}", "prefer": "wait"}
    return Target(name, address, post(address, "/v1/predictions", {"version": version, "input": input}, headers))


def post(address: str, path: str, body: dict, headers: dict[str, str] | None = None) -> str:
    """A whole HTTP request, to be sent as it is."""
    text = json.dumps(body)
    lines = {"host": address, "content-type": "application/json", "content-length": str(len(text)), **(headers or {})}
    return f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n" + text


def table(rows: list[tuple[str, ...]]) -> str:
    return aligned([HEADINGS, *rows], names=(0, 2))


def aligned(rows: list[tuple[str, ...]], names: tuple[int, ...] = (0, 1)) -> str:
    """Names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    placed = lambda index, cell: cell.ljust(widths[index]) if index in names else cell.rjust(widths[index])
    return "\n".join("  ".join(placed(index, cell) for index, cell in enumerate(row)).rstrip() for row in rows)


def main(cog: str, seconds: str, rounds: str, *scenarios: str) -> None:
    with tempfile.TemporaryDirectory(prefix="feira-bench-") as made:
        folder = Path(made)
        # Models run as other users, who must find the way to their environments.
        os.chmod(folder, 0o711)
        server = Server(folder, demo=True)
        # The first start publishes hello-world; the second is without the other demo models, which would disturb.
        with server:
            server.stop()
            server.options = ["--no-demo", "--scratch-bytes-max", "1GiB"]
            server.start()
            comparisons = [{"echo": echo, "hooks": hooks, "bombs": bombs}[name](server, folder / name, Path(cog), (float(seconds), int(rounds))) for name in scenarios]
    print(f"{rounds} rounds of {seconds} s each, medians; {os.cpu_count()} processors\n")
    print("\n\n".join(table(comparison.rows()) for comparison in comparisons))


if __name__ == "__main__":
    main(*sys.argv[1:])
