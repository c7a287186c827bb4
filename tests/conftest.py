"""Fixtures of all suites: one server a session, and what is published on it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.api import Api
from harness.demo import DemoServer, attached
from harness.projects import project
from harness.server import Server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database-url", help="run the server on this database instead of a file")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without the demo models."""
    database = request.config.getoption("--database-url")
    options = ["--database-url", database] if database else []
    with Server(tmp_path_factory.mktemp("server"), *options) as server:
        yield server
        print(server.log_tail())


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with all demo models open: the one that `tests/run` has started, or one of this session."""
    if "FEIRA_TEST_HOME" in os.environ:
        yield attached(Path(os.environ["FEIRA_TEST_HOME"]), os.environ["FEIRA_TEST_URL"])
        return
    with DemoServer(tmp_path_factory.mktemp("demo")) as server:
        yield server


@pytest.fixture(scope="session")
def api(server: Server) -> Api:
    """The operator as a caller."""
    return server.api()


@pytest.fixture(scope="session")
def published(server: Server) -> Callable[[str], str]:
    """Publishes a project of the tests once, and names its version as callers do."""
    known: dict[str, str] = {}

    def publish(name: str) -> str:
        if name not in known:
            known[name] = f"feira/{name}:{server.push(project(name), f'feira/{name}')['id']}"
        return known[name]

    return publish
