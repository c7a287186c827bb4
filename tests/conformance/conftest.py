"""What the rows of the conformance list need beside the server of all tests: servers with a limit set low, and work that is begun early.

A row that needs a minute is asked for when the session begins and looked at when all others are done. Its fixture is listed in EARLY.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import replicate

from harness.api import timed_events
from harness.greeter import greeter
from harness.postgres import fresh_database
from harness.projects import copy
from harness.server import Server

EARLY = ["bare_wait", "silent_minute", "deadline_while_running", "deadline_while_queued"]


@pytest.fixture(scope="session", autouse=True)
def begin_early(request: pytest.FixtureRequest) -> None:
    wanted = {fixture for item in request.session.items for fixture in getattr(item, "fixturenames", [])}
    for fixture in EARLY:
        if fixture in wanted:
            request.getfixturevalue(fixture)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not set(EARLY).isdisjoint(getattr(item, "fixturenames", [])))


@pytest.fixture(scope="session")
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


@pytest.fixture(scope="session")
def own_sleepy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Publishes the sleeper with a file added, so that its instance is not the one that other tests use."""

    def publish(name: str) -> str:
        folder = copy("sleepy", tmp_path_factory.mktemp(name), {"whose.txt": name})
        return f"feira/{name}:{server.push(folder, f'feira/{name}')['id']}"

    return publish


@pytest.fixture(scope="session")
def another_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Server]:
    """Starts a server with options of its own, on the same kind of database as the others."""
    database = request.config.getoption("--database-url")

    def start(name: str, *options: str) -> Server:
        own = ["--database-url", fresh_database(database, name)] if database else []
        server = Server(tmp_path_factory.mktemp(name), *own, *options).start()
        request.addfinalizer(server.stop)
        return server

    return start


@pytest.fixture(scope="session")
def bare_wait(background: ThreadPoolExecutor, server: Server, own_sleepy: Callable[[str], str]) -> Future:
    """`Prefer: wait` without a number on a model that sleeps for 90 seconds: the answer, and how long it took."""
    version = own_sleepy("sleeps-long")

    def ask() -> tuple[dict, float]:
        api = server.api()
        answer = api.post("/v1/predictions", json={"version": version, "input": {"seconds": 90}}, headers={"prefer": "wait"})
        seconds = answer.elapsed.total_seconds()
        told = answer.json()
        api.cancel(told["id"])
        return told, seconds

    return background.submit(ask)


@pytest.fixture(scope="session")
def deadline_while_running(background: ThreadPoolExecutor, server: Server) -> Future:
    """A greeting that would take a minute, told to be over after five seconds: as it was created, and as it ended."""
    api = server.api()
    version = greeter(api, "feira/dawdler")

    def run() -> tuple[dict, dict]:
        created = api.create(version, {"delay_ms": 60_000}, headers={"cancel-after": "5s"})
        return created, api.ended(created["id"], 30)

    return background.submit(run)


@pytest.fixture(scope="session")
def deadline_while_queued(background: ThreadPoolExecutor, another_server: Callable[..., Server]) -> Future:
    """The same behind a minute's work of a server that has one place: as it was created, and as it ended."""
    api = another_server("one-place", "--instances-max", "1").api()
    version = greeter(api, "feira/dawdler", concurrency=1)

    def run() -> tuple[dict, dict]:
        first = api.create(version, {"delay_ms": 60_000})
        api.started(first["id"])
        created = api.create(version, {}, headers={"cancel-after": "5s"})
        ended = api.ended(created["id"], 30)
        assert api.prediction(first["id"])["status"] == "processing"
        api.cancel(first["id"])
        return created, ended

    return background.submit(run)


@pytest.fixture(scope="session")
def limited(another_server: Callable[..., Server]) -> Server:
    """A server that lets a token create five predictions a minute."""
    return another_server("limited", "--limit-creates", "5")


@pytest.fixture(scope="session")
def forgetful(another_server: Callable[..., Server]) -> Server:
    """A server that removes what a prediction was about two seconds after its end."""
    return another_server("forgetful", "--retention", "2")


@pytest.fixture(scope="session")
def telling(another_server: Callable[..., Server]) -> Server:
    """A server that may deliver webhooks to this machine."""
    return another_server("telling", "--webhook-private")


@pytest.fixture(scope="session")
def silent_minute(background: ThreadPoolExecutor, server: Server, own_sleepy: Callable[[str], str]) -> "SilentMinute":
    """A model that says nothing for a minute, read by Python's client and by hand."""
    return SilentMinute(background, server, own_sleepy("silent"))


class SilentMinute:
    """Two readers of one stream."""

    def __init__(self, background: ThreadPoolExecutor, server: Server, version: str):
        client = replicate.Client(api_token=server.token, base_url=server.url)
        prediction = client.predictions.create(version=version, input={"seconds": 61}, stream=True)
        self.by_hand: Future = background.submit(lambda: list(timed_events(prediction.urls["stream"])))
        self.by_client: Future = background.submit(lambda: list(prediction.stream()))
