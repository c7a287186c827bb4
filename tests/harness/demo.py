"""A server with the demo models, whose weights are fetched once and kept between runs.

`python -m harness.demo FOLDER` starts one, prints its address and home as JSON once every model is open, and ends with its input.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from harness.server import Server
from harness.wait import until

MODELS = {"hello-world", "smol-chat", "upscale", "embed"}
# The first time: two hundred megabytes of weights, and two environments.
OPEN_SECONDS_MAX = 900


def kept_weights() -> Path | None:
    """Where weights stay between runs; `tests/run` says."""
    folder = os.environ.get("FEIRA_TEST_WEIGHTS")
    return Path(folder) if folder else None


class DemoServer(Server):
    """Ready when every demo model has run its example."""

    def __init__(self, folder: Path):
        super().__init__(folder, "--webhook-private", demo=True)

    def start(self) -> "DemoServer":
        kept = kept_weights()
        if kept and kept.exists():
            shutil.copytree(kept, self.home / "demo", dirs_exist_ok=True)
        super().start()
        until(self._is_open, OPEN_SECONDS_MAX)
        if kept:
            for weights in (self.home / "demo").glob("*/weights"):
                shutil.copytree(weights, kept / weights.parent.name / "weights", dirs_exist_ok=True)
        return self

    def _is_open(self) -> bool:
        said = self.log_tail(1000)
        assert self.process.poll() is None and " waits: " not in said, said
        shown = self.api().get("/v1/models").json()["results"]
        return {model["name"] for model in shown if model["default_example"]} >= MODELS


def attached(home: Path, url: str) -> Server:
    """A server that somebody else has started and will stop."""
    server = Server(home.parent, demo=True)
    server.home, server.url = home, url
    return server


if __name__ == "__main__":
    with DemoServer(Path(sys.argv[1])) as server:
        print(json.dumps({"url": server.url, "home": str(server.home)}), flush=True)
        sys.stdin.read()
