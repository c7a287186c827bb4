"""Models that change hands: both sides must say so, and whoever calls the old name gets what they always got."""

import json
from pathlib import Path

from harness.api import Api, problem
from harness.projects import copy
from harness.server import Server


def test_a_model_changes_hands_while_it_runs_and_its_old_address_leads_to_it(server: Server, api: Api, tmp_path: Path):
    giver, taker = server.account("giver", "5"), server.account("taker", "5")
    id = server.push(copy("echo", tmp_path), "giver/gift", "--private", token=giver)["id"]
    running = server.api(giver).create("giver/gift", {"text": "under way"})
    problem(server.api(taker).post("/v1/models/giver/gift/transfer/accept"), 404)
    problem(server.api(taker).get("/v1/models/giver/gift"), 404)

    server.feira("transfer", "offer", "giver/gift", "taker", token=giver)
    offers = json.loads(server.feira("transfer", "list", "--json", token=taker).stdout)
    assert [(offer["model"], offer["from"], offer["to"]) for offer in offers] == [("giver/gift", "giver", "taker")]
    problem(api.post("/v1/models/giver/gift/transfer/accept"), 404)
    assert server.feira("transfer", "accept", "giver/gift", token=taker).stdout.strip() == "taker/gift"

    assert server.api(giver).ended(running["id"])["output"] == "under way"
    assert server.api(taker).get("/v1/models/taker/gift").json()["latest_version"]["id"] == id
    assert server.api(taker).run("giver/gift", {"text": "by the old name"})["output"] == "by the old name"
    problem(server.api(giver).get("/v1/models/taker/gift"), 404)
    problem(server.api(giver).get("/v1/models/giver/gift"), 404)
    assert server.api(giver).get("/v1/account/storage").json()["kept_bytes"] == 0
    assert server.api(taker).get("/v1/account/storage").json()["kept_bytes"] > 0
    squat = server.api(giver).post("/v1/models", json={"owner": "giver", "name": "gift", "visibility": "public", "hardware": "cpu"})
    problem(squat, 409)


def test_an_offer_is_refused_or_taken_back(server: Server, tmp_path: Path):
    owner, friend = server.account("offerer"), server.account("friend")
    server.push(copy("echo", tmp_path), "offerer/offered", token=owner)
    for ender in (owner, friend):
        server.feira("transfer", "offer", "offerer/offered", "friend", token=owner)
        server.feira("transfer", "refuse", "offerer/offered", token=ender)
        late = server.feira("transfer", "accept", "offerer/offered", token=friend, check=False)
        assert late.returncode == 4, late
    api = server.api(owner)
    problem(api.post("/v1/models/offerer/offered/transfer", json={"to": "nobody-at-all"}), 404)
    problem(api.post("/v1/models/offerer/offered/transfer", json={"to": "offerer"}), 422)
    problem(server.api(friend).post("/v1/models/offerer/offered/transfer", json={"to": "friend"}), 403)
    server.feira("transfer", "offer", "offerer/offered", "friend", token=owner)
    server.feira("transfer", "accept", "offerer/offered", token=friend)
    moved = problem(api.patch("/v1/models/offerer/offered", json={"description": "still mine?"}), 409)
    assert "friend/offered" in moved["detail"]
    assert api.get("/v1/models/offerer/offered").json()["owner"] == "friend", "a public model's old address leads to it"
