"""kill -9 in the middle of a training: it runs again, one version comes of it, and it is paid for once."""

from decimal import Decimal
from pathlib import Path

from harness import training
from harness.ledger import violations
from harness.server import Server


def test_a_training_that_was_killed_in_the_middle_becomes_one_version(tmp_path: Path):
    with Server(tmp_path) as server:
        api = server.api()
        trainable = training.publish(api)
        api.post("/v1/models", json={"owner": "feira", "name": "trained", "visibility": "private", "hardware": "cpu"})
        before = api.balance()
        id = training.train(api, trainable, "feira/trained", {"text": "kept", "seconds": 3})["id"]
        api.running(id, "writing")
        assert server.kill() == 0
        server.start()
        ended = training.ended(api, id)
        assert ended["status"] == "succeeded", ended
        versions = api.get("/v1/models/feira/trained/versions").json()["results"]
        assert [f"feira/trained:{one['id']}" for one in versions] == [ended["output"]["version"]]
        assert before - api.balance() == Decimal(ended["cost"]) > 0
        server.stop()
    assert violations(server.home) == []
