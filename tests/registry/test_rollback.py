"""Tags: `latest` rolled back and its history, names for versions, and publishers who race."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.api import Api, problem
from harness.projects import copy
from harness.server import Server


@pytest.fixture(scope="module")
def three(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three versions of one model that differ in a file; their ids, the oldest first."""
    folder = tmp_path_factory.mktemp("rollback")
    return [server.push(copy("echo", folder / text, {"note.txt": text}), "feira/rolled")["id"] for text in ("one", "two", "three")]


def latest(api: Api) -> str:
    return api.get("/v1/models/feira/rolled").json()["latest_version"]["id"]


def history(api: Api, tag: str = "latest") -> list[tuple[int, str]]:
    answer = api.get(f"/v1/models/feira/rolled/tags/{tag}/history").json()
    assert all(row["moved_by"] == "feira" and row["moved_at"] for row in answer["results"])
    return [(row["number"], row["version"]) for row in answer["results"]]


def test_a_rollback_is_in_force_at_once_and_is_written_down(server: Server, api: Api, three: list[str]):
    running = api.create("feira/rolled", {"text": "under way"})
    moved = api.post("/v1/models/feira/rolled/rollback")
    assert moved.status_code == 200 and moved.json()["version"] == three[1]
    assert latest(api) == three[1]
    created = api.post("/v1/models/feira/rolled/predictions", json={"input": {"text": "x"}}).json()
    assert created["version"] == three[1]
    ended = api.ended(running["id"])
    assert (ended["status"], ended["version"], ended["output"]) == ("succeeded", three[2], "under way")
    assert api.ended(created["id"])["status"] == "succeeded"

    told = json.loads(server.feira("rollback", "--json", "feira/rolled").stdout)
    assert (told["version"], told["number"]) == (three[0], 5)
    assert "no" in problem(api.post("/v1/models/feira/rolled/rollback", json={}), 409)["detail"]
    assert server.feira("rollback", "feira/rolled", check=False).returncode == 5

    forth = server.feira("rollback", "feira/rolled", three[2])
    assert forth.stdout.strip() == f"feira/rolled:{three[2]}"
    assert history(api) == [(6, three[2]), (5, three[0]), (4, three[1]), (3, three[2]), (2, three[1]), (1, three[0])]


def test_a_tag_names_a_version_and_moves(server: Server, api: Api, three: list[str]):
    server.feira("tag", "feira/rolled", "stable", three[0])
    moved = api.put("/v1/models/feira/rolled/tags/stable", json={"version": three[1]})
    assert moved.status_code == 200 and moved.json()["number"] == 2
    assert api.put("/v1/models/feira/rolled/tags/stable", json={"version": three[1]}).json() == moved.json()
    assert history(api, "stable") == [(2, three[1]), (1, three[0])]
    tags = {row["tag"]: row["version"] for row in api.get("/v1/models/feira/rolled/tags").json()["results"]}
    assert tags == {"latest": latest(api), "stable": three[1]}
    lines = [line for line in server.feira("versions", "list", "feira/rolled").stdout.splitlines() if three[1] in line]
    assert len(lines) == 1 and lines[0].endswith("stable")
    assert [row["number"] for row in json.loads(server.feira("tag", "--json", "feira/rolled", "stable").stdout)] == [2, 1]


def test_what_is_no_tag_no_version_or_not_yours_is_told_so(server: Server, api: Api, three: list[str]):
    before = history(api)
    unknown = "0" * 64
    path = "/v1/models/feira/rolled"
    problem(api.put(f"{path}/tags/.hidden", json={"version": three[0]}), 422)
    problem(api.put(f"{path}/tags/{three[0]}", json={"version": three[0]}), 422)
    problem(api.put(f"{path}/tags/stable", json={"version": "short"}), 422)
    problem(api.put(f"{path}/tags/stable", json={"version": unknown}), 404)
    problem(api.post(f"{path}/rollback", json={"version": unknown}), 404)
    problem(api.post(f"{path}/rollback", json={"versoin": three[0]}), 422)
    problem(api.get(f"{path}/tags/never-made/history"), 404)
    stranger = server.api(server.account("stranger-to-tags"))
    problem(stranger.post(f"{path}/rollback"), 403)
    problem(stranger.put(f"{path}/tags/stable", json={"version": three[0]}), 403)
    assert stranger.get(f"{path}/tags").status_code == 200, "a public model's tags are public"
    assert history(api) == before


def test_publishers_who_race_get_one_id_and_one_line_of_history(server: Server, api: Api, tmp_path: Path):
    folders = [copy("echo", tmp_path / f"{text}{n}", {"note.txt": text}) for text in ("red", "blue") for n in range(2)]
    server.feira("models", "create", "feira/raced")
    with ThreadPoolExecutor(len(folders)) as pool:
        said = list(pool.map(lambda folder: server.push(folder, "feira/raced")["id"], folders))
    assert said[0] == said[1] != said[2] == said[3]
    moves = api.get("/v1/models/feira/raced/tags/latest/history").json()["results"]
    assert [row["number"] for row in moves] == [2, 1]
    assert {row["version"] for row in moves} == {said[0], said[2]}
    assert api.get("/v1/models/feira/raced").json()["latest_version"]["id"] == moves[0]["version"]


def test_a_deleted_latest_gives_way_to_the_one_before_it(server: Server, api: Api, tmp_path: Path):
    first, second, third = (server.push(copy("echo", tmp_path / text, {"note.txt": text}), "feira/shrinks")["id"] for text in "123")
    assert api.post("/v1/models/feira/shrinks/rollback").json()["version"] == second
    assert api.delete(f"/v1/models/feira/shrinks/versions/{second}").status_code == 202
    assert api.get("/v1/models/feira/shrinks").json()["latest_version"]["id"] == first, f"{third} was rolled back"
