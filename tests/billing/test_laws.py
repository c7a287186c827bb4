"""The laws of the ledger, read from the file after a day of all kinds of runs."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.ledger import violations
from harness.projects import project
from harness.server import Server

RUNS = [("echo", {"text": "x"}), ("predict-raises", {}), ("kills-itself", {}), ("stream-words", {}), ("sleepy", {"seconds": 0.05})]


def test_after_a_mixed_day_every_law_of_the_ledger_holds(tmp_path: Path, request: pytest.FixtureRequest):
    with Server(tmp_path) as server:
        api = server.api()
        versions = {name: f"feira/{name}:{server.push(project(name), f'feira/{name}')['id']}" for name, _ in RUNS}
        orders = [(versions[name], input) for name, input in RUNS * 8]
        with ThreadPoolExecutor(8) as callers:
            ended = list(callers.map(lambda order: api.run(*order), orders))
        canceled = [api.cancel(api.create(versions["sleepy"], {"seconds": 30})["id"]) for _ in range(5)]
        assert {prediction["status"] for prediction in ended} == {"succeeded", "failed"}
        assert {prediction["status"] for prediction in canceled} == {"canceled"}
        assert server.stop() == 0
    assert violations(server.home) == []
