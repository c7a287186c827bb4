"""The scenario `coldstart`: how long a model takes from the order until it is ready, and until its first output, on each rung of the ladder."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

import httpx

from harness.api import Api
from harness.bench import aligned
from harness.processes import descendants
from harness.projects import copy
from harness.server import Server
from harness.wait import until

# An environment that has to be fetched and built.
BUILD_SECONDS_MAX = 300
READY_SECONDS_MAX = 60
# A peer is looked at this often; Feira looks at its models no more often than that.
LOOK_EVERY_SECONDS = 0.001
HEADINGS = ("model", "", "starts", "ready p50 ms", "p99", "first output p50 ms", "p99", "ready, ratio")

PREDICT = '''"""Answers with the text, by way of {package}."""

{imports}
from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, text: str = Input(description="What to say back")) -> str:
        return {answer}
'''
LITSERVE = """import sys

import litserve
{imports}


class Model(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return request["text"]

    def predict(self, text):
        return {answer}

    def encode_response(self, output):
        return {{"output": output}}


if __name__ == "__main__":
    litserve.LitServer(Model(), accelerator="cpu").run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
"""
BENTOML = """import bentoml
{imports}


@bentoml.service
class Model:
    @bentoml.api
    def predict(self, text: str) -> str:
        return {answer}
"""
ONNX = "text if onnxruntime.get_available_providers() and numpy.zeros(3).sum() == 0 else ''"
MODELS = {
    "echo": ([], "", "text"),
    "numpy": (["numpy==2.4.6"], "import numpy", "text * int(numpy.ones(1).sum())"),
    "onnxruntime": (["numpy==2.4.6", "onnxruntime==1.32.0"], "import numpy\nimport onnxruntime", ONNX),
}


@dataclass
class Starts:
    """What was measured of one way to start, in milliseconds."""

    name: str
    ready: list[float] = field(default_factory=list)
    output: list[float] = field(default_factory=list)

    def note(self, ready: float, output: float) -> None:
        self.ready.append(ready)
        self.output.append(output)


def percentile(values: list[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def project(name: str, folder: Path) -> Path:
    packages, imports, answer = MODELS[name]
    wanted = "".join(f"\n    - {package}" for package in packages)
    cog = f'build:\n  python_version: "3.11"\n  python_packages:{wanted or " []"}\npredict: "predict.py:Predictor"\n'
    predict = PREDICT.format(package=name, imports=imports, answer=answer)
    made = copy("echo", folder, {"cog.yaml": cog, "predict.py": predict})
    if packages:
        # Resolved anew.
        (made / "requirements.lock").unlink()
    return made


# How a server is started whose every prediction comes from one rung, and what it keeps for each model.
RUNGS = {
    "warm": (("--freeze-seconds", "3600", "--idle-seconds", "3600", "--zygotes", "0"), "warm"),
    "frozen": (("--freeze-seconds", "0", "--idle-seconds", "3600", "--zygotes", "0"), "frozen"),
    "zygote": (("--idle-seconds", "0", "--zygotes", str(len(MODELS))), "zygotes"),
    "environment_hit": (("--idle-seconds", "0", "--zygotes", "0"), None),
    "environment_build": (("--idle-seconds", "0", "--zygotes", "0"), None),
}
# An environment is built anew for so many of the starts.
BUILDS_MAX = 3


class Feira:
    """A server whose predictions all come from one rung of the ladder."""

    def __init__(self, folder: Path, rung: str):
        folder.mkdir()
        os.chmod(folder, 0o711)
        options, self.kept = RUNGS[rung]
        self.server = Server(folder, *options, "--instances-max", str(len(MODELS) + 1))
        self.rung = rung
        self.published = 0

    def publish(self, name: str, folder: Path) -> str:
        """Returns the version, once its environment is built."""
        self.version = f"feira/{name}:{self.server.push(folder, f'feira/{name}')['id']}"
        self.published += 1
        with self.server.api() as api:
            assert api.run(self.version, {"text": "x"}, BUILD_SECONDS_MAX)["status"] == "succeeded"
        return self.version

    def start(self, api: Api, starts: Starts) -> None:
        if self.rung == "environment_build":
            if len(starts.ready) == BUILDS_MAX:
                return
            self.wait(api)
            for environment in self.environments():
                subprocess.run(["rm", "-rf", environment], check=True)
        self.wait(api)
        began = time.perf_counter()
        answer = api.post("/v1/predictions", json={"version": self.version, "input": {"text": "x"}}, headers={"prefer": "wait"}).json()
        output = (time.perf_counter() - began) * 1e3
        assert answer["output"] == "x", answer
        timings = answer["timings"]
        cold = timings["cold"] or {"rung": "warm"}
        assert cold["rung"] == self.rung, cold
        waited_us = timings["queue_us"] + sum(value for name, value in cold.items() if name.endswith("_us"))
        starts.note(waited_us / 1e3, output)

    def wait(self, api: Api) -> None:
        """Until nothing runs and what is to be prepared is prepared."""

        def nothing_is_under_way() -> bool:
            figures = dict(line.rsplit(" ", 1) for line in api.get("/metrics").text.splitlines() if not line.startswith("#"))
            there = {state: int(figures[f'feira_instances{{state="{state}"}}']) for state in ("warm", "frozen", "starting")}
            there["zygotes"] = int(figures["feira_zygotes"])
            return there == {state: self.published if state == self.kept else 0 for state in there}

        until(nothing_is_under_way, READY_SECONDS_MAX)

    def environments(self) -> list[Path]:
        """The one that was built last stands last."""
        marks = (self.server.home / "runner" / "environments").glob("*/built-from")
        return [mark.parent for mark in sorted(marks, key=lambda mark: mark.stat().st_mtime)]

    def python(self) -> Path:
        return self.environments()[-1] / "bin" / "python"


class Peer(NamedTuple):
    """Another server for the same model, started anew each time."""

    name: str
    command: list[str | Path]
    folder: Path
    variables: dict[str, str]
    port: int
    health: str
    call: str
    body: dict

    def start(self, starts: Starts, log: Path) -> None:
        environment = {"PATH": f"{Path(self.command[0]).parent}:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(self.folder), **self.variables}
        began = time.perf_counter()
        with log.open("a") as out:
            process = subprocess.Popen(
                self.command, cwd=self.folder, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
            )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{self.port}") as http:
                deadline = began + READY_SECONDS_MAX
                while not self.is_ready(http):
                    assert time.perf_counter() < deadline and process.poll() is None, log.read_text()[-2000:]
                    time.sleep(LOOK_EVERY_SECONDS)
                ready = time.perf_counter()
                answer = http.post(self.call, json=self.body).text
                assert "x" in answer and "error" not in answer, answer
                starts.note((ready - began) * 1e3, (time.perf_counter() - began) * 1e3)
        finally:
            # BentoML's workers leave its process group.
            for one in [process.pid, *(child.pid for child in descendants(process.pid))]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
            process.wait()
            until(self.port_is_free, READY_SECONDS_MAX)

    def is_ready(self, http: httpx.Client) -> bool:
        """Cog says STARTING with a 200."""
        try:
            answer = http.get(self.health)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and "STARTING" not in answer.text

    def port_is_free(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) != 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def cog_peer(made: Path, python: Path) -> Peer:
    """As Cog's image starts it, in the very environment that Feira built."""
    port = free_port()
    variables = {"PORT": str(port), "COG_PREDICT_TYPE_STUB": "predict.py:Predictor", "COG_LOG_LEVEL": "warning"}
    command = [python, "-m", "cog.server.http", "--host", "127.0.0.1"]
    return Peer("peer: cog 0.23.1, stock", command, made, variables, port, "/health-check", "/predictions", {"input": {"text": "x"}})


def litserve_peer(name: str, made: Path, python: Path) -> Peer:
    _, imports, answer = MODELS[name]
    (made / "lit.py").write_text(LITSERVE.format(imports=imports, answer=answer))
    port = free_port()
    return Peer("peer: litserve 0.2.19", [python, "lit.py", str(port)], made, {}, port, "/health", "/predict", {"text": "x"})


def bentoml_peer(name: str, made: Path, python: Path) -> Peer:
    _, imports, answer = MODELS[name]
    (made / "service.py").write_text(BENTOML.format(imports=imports, answer=answer))
    port = free_port()
    command = [python, "-m", "bentoml", "serve", "service:Model", "--host", "127.0.0.1", "--port", str(port)]
    return Peer("peer: bentoml 1.4.40", command, made, {"BENTOML_DO_NOT_TRACK": "True"}, port, "/readyz", "/predict", {"text": "x"})


def measure(name: str, folder: Path, feiras: list[Feira], pythons: tuple[Path, Path], rounds: int) -> list[Starts]:
    made = project(name, folder / name)
    for feira in feiras:
        feira.publish(f"bench-{name}", made)
    hit = next(feira for feira in feiras if feira.rung == "environment_hit")
    with hit.server.api() as api:
        schema = api.get(f"/v1/models/feira/bench-{name}").json()["latest_version"]["openapi_schema"]
    (made / ".cog").mkdir(exist_ok=True)
    (made / ".cog" / "openapi_schema.json").write_text(json.dumps(schema))
    litserve, bentoml = pythons
    peers = [cog_peer(made, hit.python()), litserve_peer(name, made, litserve), bentoml_peer(name, made, bentoml)]
    of_peers, of_ours = [Starts(peer.name) for peer in peers], [Starts(f"ours: {feira.rung.replace('_', ' ')}") for feira in feiras]
    with contextlib.ExitStack() as open_apis:
        apis = [open_apis.enter_context(feira.server.api()) for feira in feiras]
        for _ in range(rounds):
            for peer, starts in zip(peers, of_peers, strict=True):
                peer.start(starts, folder / "peers.log")
            for feira, api, starts in zip(feiras, apis, of_ours, strict=True):
                feira.start(api, starts)
    return [*of_peers, *of_ours]


def shown_ms(milliseconds: float) -> str:
    return f"{milliseconds:.2f}" if milliseconds < 10 else f"{milliseconds:.0f}"


def rows(name: str, ways: list[Starts]) -> list[tuple[str, ...]]:
    peer = percentile(ways[0].ready, 50)
    shown = []
    for way in ways:
        figures = [shown_ms(percentile(values, percent)) for values in (way.ready, way.output) for percent in (50, 99)]
        ratio = "" if way is ways[0] else f"{percentile(way.ready, 50) / peer:.3f}"
        shown.append((name if way is ways[0] else "", way.name, str(len(way.ready)), *figures, ratio))
    return shown


def main(rounds: str, litserve: str, bentoml: str) -> None:
    pythons = (Path(litserve), Path(bentoml))
    with tempfile.TemporaryDirectory(prefix="feira-bench-") as made:
        folder = Path(made)
        # Models run as other users, who must find the way to their environments.
        os.chmod(folder, 0o711)
        feiras = [Feira(folder / rung, rung) for rung in RUNGS]
        with contextlib.ExitStack() as servers:
            for feira in feiras:
                servers.enter_context(feira.server)
            table = [row for name in MODELS for row in rows(name, measure(name, folder, feiras, pythons, int(rounds)))]
    print(f"{rounds} starts each, at most {BUILDS_MAX} with a build, taking turns; {os.cpu_count()} processors")
    print("ready: by the runner's clock, from the prediction's arrival until the model can have it; asked: zygote 0.3 of stock at p50,")
    print("frozen under 10 ms and warm under 2 ms at p99\n")
    print(aligned([HEADINGS, *table]))


if __name__ == "__main__":
    main(*sys.argv[1:])
