"""Two gateways on one database and one store: what is done at one holds at the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.postgres import fresh_database
from harness.projects import copy
from harness.server import Server


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
