"""What accounts keep: limits from the first byte on, and the collection of what nobody needs any more."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.api import Api, problem
from harness.projects import copy
from harness.server import Server
from harness.wait import until

LIMIT = 1_000_000


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("storage"), "--storage-quota", "1MB", "--gc-grace", "1") as server:
        server.feira("account", "quota", "feira", "1TB")
        yield server
        print(server.log_tail())


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def storage(api: Api) -> dict:
    return api.get("/v1/account/storage").json()


def begin(api: Api, content: bytes):
    return api.post("/v1/blobs/uploads", json={"digest": digest(content), "size": len(content)})


def test_an_upload_counts_from_its_beginning_and_not_after_its_end(shop: Server):
    api = shop.api(shop.account("frugal"))
    assert storage(api) == {"kept_bytes": 0, "reserved_bytes": 0, "limit_bytes": LIMIT}
    large = b"a" * 600_000
    upload = begin(api, large).json()["id"]
    assert storage(api)["reserved_bytes"] == 600_000
    refused = problem(begin(api, b"b" * 600_000), 413)
    assert all(str(number) in refused["detail"] for number in (600_000, LIMIT)), refused
    problem(api.put(f"/v1/blobs/{digest(b'c' * 500_000)}", content=b"c" * 500_000), 413)
    assert api.delete(f"/v1/blobs/uploads/{upload}").status_code == 204
    problem(api.get(f"/v1/blobs/uploads/{upload}"), 404)
    problem(api.delete(f"/v1/blobs/uploads/{upload}"), 404)
    assert storage(api)["reserved_bytes"] == 0

    upload = begin(api, large).json()["id"]
    sent = api.patch(f"/v1/blobs/uploads/{upload}", content=b"x" * 600_000, headers={"upload-offset": "0"})
    assert sent.json() == {"offset": 600_000}
    problem(api.put(f"/v1/blobs/uploads/{upload}"), 422)
    assert storage(api) == {"kept_bytes": 0, "reserved_bytes": 0, "limit_bytes": LIMIT}, "wrong bytes keep no room"
    assert api.put(f"/v1/blobs/{digest(large)}", content=large).status_code == 201
    assert storage(api) == {"kept_bytes": 600_000, "reserved_bytes": 0, "limit_bytes": LIMIT}


def test_a_push_beyond_the_limit_is_refused_until_an_operator_gives_more(shop: Server, tmp_path: Path):
    token = shop.account("hoarder")
    folder = copy("weights", tmp_path, {"weights/model.bin": hashlib.shake_128(b"hoard").digest(2 * LIMIT)})
    refused = shop.feira("push", folder, "hoarder/much", token=token, check=False)
    assert refused.returncode == 5 and f"may keep {LIMIT}" in refused.stderr, refused.stderr
    shop.feira("account", "quota", "hoarder", "10MB")
    pushed = shop.push(folder, "hoarder/much", token=token)
    told = json.loads(shop.feira("whoami", "--json", token=token).stdout)["storage"]
    assert told["limit_bytes"] == 10_000_000 and 2 * LIMIT < told["kept_bytes"] < 3 * LIMIT
    again = shop.push(folder, "hoarder/much-again", token=token)
    assert again["id"] == pushed["id"]
    assert storage(shop.api(token))["kept_bytes"] == told["kept_bytes"], "the same content is kept once"
    stranger = shop.api(token)
    problem(stranger.put("/v1/accounts/hoarder/storage", json={"limit_bytes": None}), 403)


def test_what_no_version_names_is_collected_and_the_rest_is_whole(shop: Server, tmp_path: Path):
    api = shop.api()
    shared = {"shared.txt": "in both"}
    doomed = shop.push(copy("echo", tmp_path / "1", {**shared, "only.txt": "in the first"}), "feira/collected")["id"]
    kept = shop.push(copy("echo", tmp_path / "2", shared), "feira/collected")["id"]
    assert api.delete(f"/v1/models/feira/collected/versions/{doomed}").status_code == 202
    told = problem(api.get(f"/v1/models/feira/collected/versions/{doomed}"), 404)
    assert "was deleted" in told["detail"]
    only = digest(b"in the first")

    def its_time_is_over() -> dict | None:
        planned = json.loads(shop.feira("gc", "--json", "--dry-run").stdout)
        # The file, the config and the manifest.
        return planned if planned["blobs"] >= 3 else None

    planned = until(its_time_is_over, 30)
    done = json.loads(shop.feira("gc", "--json").stdout)
    assert done["blobs"] >= planned["blobs"] and done["bytes"] >= planned["bytes"] > len("in the first")
    assert api.head(f"/v1/blobs/{only}").status_code == 404
    assert api.head(f"/v1/blobs/{digest(b'in both')}").status_code == 200
    shop.feira("pull", f"feira/collected:{kept}", tmp_path / "pulled")
    assert (tmp_path / "pulled" / "shared.txt").read_text() == "in both"
    refused = shop.feira("push", tmp_path / "1" / "echo", "feira/collected", check=False)
    assert refused.returncode == 2 and "does not come back" in refused.stderr
    problem(shop.api(shop.account("no-collector")).post("/v1/blobs/collect", json={}), 403)
