"""The scenarios `queue` and `burst`: 64 clients at one slot, and 64 clients at a model that nobody has started."""

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from harness.bench import aligned, post
from harness.bench_plot import Line, plot
from harness.server import Server
from harness.wait import until

CLIENTS = 64
QUEUE_MS = 5
QUEUE_SECONDS = 30
# What is asked of the queue, of the rate of a slot that is never idle.
QUEUE_PART = 0.97
BURST_MS = 50
# What each client asks for, one after the other.
BURST_ROUNDS = 10
BURST_INSTANCES = 8
IDLE_SECONDS = 2
LOOK_EVERY_SECONDS = 0.02
SCALE_DOWN_SECONDS_MAX = 60

# A model that takes this long from the request that it reads to the answer that it writes, and nothing besides.
SERVER = '''"""Speaks Cog's contract, and answers each prediction after exactly so many milliseconds."""

import json
import os
import socket
import threading
import time

SECONDS = {milliseconds} / 1000
# The kernel wakes a sleeper late; the rest is waited out.
EARLY = 0.0002
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: %s\\r\\ncontent-length: %d\\r\\n\\r\\n"
READY = json.dumps({{"status": "READY", "setup": {{"status": "succeeded"}}}}).encode()
EVENTS = (
    b'event: start\\ndata: {{"status": "processing"}}\\n\\n'
    b'event: output\\ndata: {{"chunk": "done", "index": 0}}\\n\\n'
    b'event: completed\\ndata: {{"logs": "", "output": "done", "status": "succeeded"}}\\n\\n'
)


def answer(kind, body):
    return HEAD % (kind, len(body)) + body


HEALTH, DONE = answer(b"application/json", READY), answer(b"text/event-stream", EVENTS)


def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while request := connection.recv(65536):
        until = time.perf_counter() + SECONDS
        head, _, body = request.partition(b"\\r\\n\\r\\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\\r\\n") if line.startswith(b"content-length:")), 0)
        while len(body) < length:
            body += connection.recv(65536)
        if not request.startswith(b"PUT"):
            connection.sendall(HEALTH)
            continue
        time.sleep(max(0, until - time.perf_counter() - EARLY))
        while time.perf_counter() < until:
            pass
        connection.sendall(DONE)


listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
'''
SCHEMA = {
    "openapi": "3.0.2",
    "info": {"title": "Cog", "version": "0.1.0"},
    "paths": {},
    "components": {"schemas": {"Input": {"type": "object", "title": "Input", "properties": {}}, "Output": {"type": "string", "title": "Output"}}},
}
TOLD = 'protocol = "cog"\ncommand = ["python3", "server.py"]\nschema = "schema.json"\nconcurrency = 1\n'


class Ran(NamedTuple):
    """One prediction, by its caller's clock."""

    id: str
    started_at: str
    asked: float
    answered: float


def publish(server: Server, name: str, milliseconds: int, folder: Path) -> str:
    project = folder / name
    project.mkdir()
    (project / "server.py").write_text(SERVER.format(milliseconds=milliseconds))
    (project / "schema.json").write_text(json.dumps(SCHEMA))
    (project / "feira.toml").write_text(TOLD)
    return f"feira/{name}:{server.push(project, f'feira/{name}')['id']}"


class Clients:
    """Each has a connection and one call under way."""

    def __init__(self, server: Server, version: str):
        address = server.url.removeprefix("http://")
        self.host, self.port = address.split(":")
        headers = {"authorization": f"Bearer {server.token}", "prefer": "wait"}
        self.request = post(address, "/v1/predictions", {"version": version, "input": {}}, headers).encode()
        self.ran: list[Ran] = []
        self.refused = 0

    async def client(self, goes_on) -> None:
        reader, writer = await asyncio.open_connection(self.host, int(self.port))
        rounds = 0
        while goes_on(rounds):
            asked = time.perf_counter()
            writer.write(self.request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
            if head.startswith(b"http/1.1 2"):
                told = json.loads(body)
                assert told["status"] == "succeeded", told
                self.ran.append(Ran(told["id"], told["started_at"], asked, time.perf_counter()))
            else:
                self.refused += 1
            rounds += 1
        writer.close()

    async def all(self, goes_on) -> None:
        await asyncio.gather(*(self.client(goes_on) for _ in range(CLIENTS)))


def queue(folder: Path) -> None:
    """One slot that is never idle."""
    with Server(folder, "--instances-max", "1", "--limit-creates", "10000000", "--zygotes", "0") as server:
        version = publish(server, "bench-queue", QUEUE_MS, folder)
        with server.api() as api:
            assert api.run(version, {})["status"] == "succeeded"
        clients = Clients(server, version)
        begin = time.perf_counter() + 1
        asyncio.run(clients.all(lambda _: time.perf_counter() < begin + QUEUE_SECONDS))
    counted = [ran for ran in clients.ran if begin <= ran.answered < begin + QUEUE_SECONDS]
    rate, whole = len(counted) / QUEUE_SECONDS, 1000 / QUEUE_MS
    in_order = sorted(clients.ran)
    overtaken = sum(later.started_at < earlier.started_at for earlier, later in zip(in_order, in_order[1:]))
    waits = sorted(ran.answered - ran.asked for ran in counted)
    rows = [
        ("queue", "of a model that takes 5 ms", ""),
        ("predictions per second", f"{rate:.1f}", f"{rate / whole:.1%} of {whole:.0f}; asked: {QUEUE_PART:.0%}"),
        ("refused", str(clients.refused), "asked: 0"),
        ("started before an earlier one", str(overtaken), f"of {len(in_order)}; asked: 0"),
        ("latency p50, p99", f"{waits[len(waits) // 2] * 1e3:.0f} ms, {waits[len(waits) * 99 // 100] * 1e3:.0f} ms", f"64 in line: {CLIENTS * QUEUE_MS} ms"),
    ]
    print(aligned(rows, names=(0, 1, 2)) + "\n")


async def watch(api, version: str, began: float, seen: list[tuple[float, int, int, int]], stop: asyncio.Event) -> None:
    """Instances that are ready, that start, and predictions that wait, as the runner tells them."""
    while not stop.is_set():
        seen.append((time.perf_counter() - began, *await asyncio.to_thread(instances, api, version)))
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def instances(api, version: str) -> tuple[int, int, int]:
    cards = [card for runner in api.get("/v1/runners").json()["runners"] for card in runner["versions"] if card["version"] == version]
    count = lambda *names: sum(card[name] for card in cards for name in names)
    return count("instances_warm", "instances_frozen"), count("instances_starting"), count("queued")


async def burst_at(server: Server, version: str, api) -> tuple[list[Ran], list[tuple[float, int, int, int]]]:
    clients, seen, stop = Clients(server, version), [], asyncio.Event()
    began = time.perf_counter()
    watching = asyncio.create_task(watch(api, version.partition(":")[2], began, seen, stop))
    await clients.all(lambda rounds: rounds < BURST_ROUNDS)
    assert not clients.refused, f"{clients.refused} were refused"
    ended = time.perf_counter() - began
    deadline = ended + SCALE_DOWN_SECONDS_MAX
    while not (seen[-1][0] > ended and seen[-1][1] + seen[-1][2] == 0):
        assert time.perf_counter() - began < deadline, "the instances are not let go"
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    stop.set()
    await watching
    return [ran._replace(asked=ran.asked - began, answered=ran.answered - began) for ran in clients.ran], seen


def burst(folder: Path) -> None:
    """Nobody has started it, and nobody needs it afterwards."""
    options = ["--instances-max", str(BURST_INSTANCES), "--idle-seconds", str(IDLE_SECONDS), "--limit-creates", "10000000", "--limit-requests", "10000000"]
    with Server(folder, *options) as server:
        version = publish(server, "bench-burst", BURST_MS, folder)
        with server.api() as api:
            until(lambda: instances(api, version.partition(":")[2]) == (0, 0, 0), SCALE_DOWN_SECONDS_MAX)
            ran, seen = asyncio.run(burst_at(server, version, api))
    firsts = [(n, next((at for at, ready, *_ in seen if ready >= n), None)) for n in range(1, BURST_INSTANCES + 1)]
    reached = [(n, at) for n, at in firsts if at is not None]
    answered = sorted(one.answered for one in ran)
    gone = next(at for at, ready, starting, _ in reversed(seen) if ready + starting == 0)
    rows = [("burst", f"{CLIENTS} clients at once, {BURST_ROUNDS} predictions of {BURST_MS} ms each", "")]
    rows += [(f"instance {n} is ready", f"{at:.2f} s", "") for n, at in reached]
    rows += [
        ("first answer", f"{answered[0]:.2f} s", ""),
        ("last answer", f"{answered[-1]:.2f} s", f"one slot alone: {len(ran) * BURST_MS / 1e3:.1f} s"),
        ("no instance is left", f"{gone:.2f} s", f"{gone - answered[-1]:.2f} s after the last answer; idle ones stay {IDLE_SECONDS} s"),
    ]
    print(aligned(rows, names=(0, 1, 2)))
    steps = [(at, float(n)) for n, at in enumerate(answered, 1)]
    drawing = plot(
        f"{CLIENTS} clients at once on a cold model of {BURST_MS} ms",
        [
            Line("instances ready", "#0b7a75", [(at, float(ready)) for at, ready, *_ in seen]),
            Line("instances starting", "#c8553d", [(at, float(starting)) for at, _, starting, _ in seen]),
        ],
        [
            Line("predictions answered", "#444444", steps),
            Line("waiting at the runner", "#9a8c98", [(at, float(queued)) for at, *_, queued in seen]),
        ],
    )
    at = Path(__file__).resolve().parents[2] / "target" / "bench" / "burst.svg"
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text(drawing)
    print(f"drawn in {at}\n")


def main(*scenarios: str) -> None:
    print(f"{os.cpu_count()} processors, which clients and server share\n")
    for scenario in scenarios:
        with tempfile.TemporaryDirectory(prefix="feira-bench-") as made:
            os.chmod(made, 0o711)
            {"queue": queue, "burst": burst}[scenario](Path(made))


if __name__ == "__main__":
    main(*sys.argv[1:])
