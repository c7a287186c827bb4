"""Two gateways on one database and one store: what is done at one holds at the other."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from harness.api import Api
from harness.postgres import fresh_database
from harness.projects import copy
from harness.server import Server
from harness.wait import until

# A gateway keeps what it knows of a model for five seconds.
KNOWN_SECONDS_MAX = 15


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    url = request.config.getoption("--database-url")
    assert url, "two gateways need a PostgreSQL: run the suite `scale`"
    folder = tmp_path_factory.mktemp("pair")
    database = ["--database-url", fresh_database(url, "feira_pair")]
    (folder / "one").mkdir(), (folder / "other").mkdir()
    with Server(folder / "one", *database) as one:
        other = Server(folder / "other", *database)
        other.home.mkdir()
        (other.home / "blobs").symlink_to(one.home / "blobs")
        with other:
            yield one, other


def test_a_rollback_holds_at_once_on_the_other_gateway(pair: tuple[Server, Server], tmp_path: Path):
    one, other = pair
    first, second = (one.push(copy("echo", tmp_path / text, {"note.txt": text}), "feira/paired")["id"] for text in ("one", "two"))
    here, there = one.api(), other.api()
    for to in (first, second, first, second, first):
        # The other gateway has just used what is about to be left behind: it has it in memory.
        before = there.create("feira/paired", {"text": "before"})
        assert here.post("/v1/models/feira/paired/rollback", json={"version": to}).status_code == 200
        after = there.create("feira/paired", {"text": "after"})
        assert (before["version"] != to, after["version"]) == (True, to)
    assert [there.ended(run["id"])["output"] for run in (before, after)] == ["before", "after"], "and what ran was not disturbed"
    assert there.get("/v1/models/feira/paired/tags/latest/history").json()["results"][0]["number"] == 7


def test_publishers_racing_at_both_get_one_id_for_the_same_bytes_and_one_line_of_history(pair: tuple[Server, Server]):
    gateways = [server.api() for server in pair]
    pair[0].feira("models", "create", "feira/raced")
    contents = [f"# {number}".encode() for number in range(6)]
    for content in contents:
        gateways[0].put(f"/v1/blobs/{digest(content)}", content=content).raise_for_status()
    races = [(gateway, content) for content in contents for gateway in gateways * 2]

    with ThreadPoolExecutor(len(races)) as publishers:
        ids = list(publishers.map(lambda race: publish(*race), races))
        by_content = [set(ids[at : at + 4]) for at in range(0, len(ids), 4)]
        assert [len(same) for same in by_content] == [1] * len(contents)
        listed = [version["id"] for version in gateways[1].get("/v1/models/feira/raced/versions").json()["results"]]
        assert sorted(listed) == sorted(set(ids)), "each is there once"
        moves = history(gateways[1], "latest")
        assert [number for number, _ in moves] == [6, 5, 4, 3, 2, 1] and {version for _, version in moves} == set(ids)
        for gateway in gateways:
            until(lambda: gateway.get("/v1/models/feira/raced").json()["latest_version"]["id"] == moves[0][1], KNOWN_SECONDS_MAX)

        tagged = list(publishers.map(lambda race: tag(race[0], race[1]), zip(gateways * 12, ids, strict=True)))
    assert {answer.status_code for answer in tagged} == {200}
    moves = history(gateways[0], "stable")
    assert [number for number, _ in moves] == list(range(len(moves), 0, -1)) and len(moves) >= len(contents)
    assert all(version != before for (_, version), (_, before) in pairwise(moves)), "a move goes somewhere else"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def publish(gateway: Api, content: bytes) -> str:
    schemas = {"Input": {"type": "object", "properties": {}}, "Output": {"type": "string"}}
    config = {"protocol": "cog", "command": ["python3", "server.py"], "openapi_schema": {"components": {"schemas": schemas}}}
    files = [{"path": "server.py", "digest": digest(content), "size": len(content)}]
    answer = gateway.post("/v1/models/feira/raced/versions", json={"config": config, "files": files})
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["id"]


def tag(gateway: Api, version: str) -> httpx.Response:
    return gateway.put("/v1/models/feira/raced/tags/stable", json={"version": version})


def history(gateway: Api, name: str) -> list[tuple[int, str]]:
    """The moves of a tag, the newest first."""
    moves = gateway.get(f"/v1/models/feira/raced/tags/{name}/history").json()["results"]
    return [(move["number"], move["version"]) for move in moves]
