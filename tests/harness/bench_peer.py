"""Cog's own server over a project, started as Cog's image starts it."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import httpx

from harness.wait import until

READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 10


class CogServer:
    """The peer of `tests/bench`."""

    def __init__(self, project: Path, python: Path, schema: str, log: Path):
        (project / ".cog").mkdir()
        (project / ".cog" / "openapi_schema.json").write_text(schema)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.project, self.python, self.log, self.port = project, python, log, port

    def __enter__(self) -> "CogServer":
        environment = {"PATH": f"{self.python.parent}:/usr/bin:/bin", "PORT": str(self.port), "COG_PREDICT_TYPE_STUB": "predict.py:Predictor"}
        command = [self.python, "-m", "cog.server.http", "--host", "127.0.0.1"]
        with self.log.open("w") as log:
            # A group of its own: the server's worker outlives it when it is killed.
            self.process = subprocess.Popen(
                command, cwd=self.project, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        until(self._is_ready, READY_SECONDS_MAX)
        return self

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"http://{self.address}/health-check").json()["status"] == "READY"
        except httpx.TransportError:
            return False

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
