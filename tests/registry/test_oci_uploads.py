"""Uploads that go wrong: refused with the reason, and none of them holds a place that others need."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from harness.api import Api
from harness.oci import BYTES, Repository, digest_of, refused
from harness.server import Server
from harness.wait import until

UPLOADS_MAX = 256


@pytest.fixture
def own(server: Server) -> Repository:
    """A repository of an account that has no upload under way."""
    name = f"uploader-{os.urandom(4).hex()}"
    return Repository(Api(server.url, server.account(name)), f"{name}/blobs")


def put(repository: Repository, location: str, content: bytes, digest: str, **headers: str):
    return repository.api.put(location, params={"digest": digest}, content=content, headers=BYTES | headers)


def test_uploads_that_fail_leave_their_places_free(own: Repository):
    with ThreadPoolExecutor(8) as threads:
        wrong = list(threads.map(lambda n: put(own, own.upload(), b"%d" % n, digest_of(b"other")), range(UPLOADS_MAX + 20)))
    assert {answer.status_code for answer in wrong} == {400}
    own.push(b"there is room")


def test_an_account_has_only_so_many_uploads_and_a_cancelled_one_makes_room(own: Repository):
    with ThreadPoolExecutor(8) as threads:
        begun = list(threads.map(lambda _: own.begin(), range(UPLOADS_MAX)))
    assert {answer.status_code for answer in begun} == {202}
    refused(own.begin(), 429, "TOOMANYREQUESTS")
    assert own.api.delete(begun[0].headers["location"]).status_code == 204
    own.push(b"there is room again")


def test_a_piece_is_as_long_as_its_range(own: Repository):
    location = own.upload()
    long = own.api.patch(location, content=b"0123456789", headers=BYTES | {"content-range": "0-4"})
    refused(long, 400, "SIZE_INVALID")
    assert own.api.get(location).headers["range"] == "0-4"
    short = own.api.patch(location, content=b"5", headers=BYTES | {"content-range": "5-9"})
    refused(short, 400, "SIZE_INVALID")
    assert own.api.get(location).headers["range"] == "0-5"
    assert put(own, location, b"6789", digest_of(b"0123456789"), **{"content-range": "6-9"}).status_code == 201


def test_a_range_that_is_none_is_refused(own: Repository):
    location = own.upload()
    for range in ("x", "5-1", "-", "0-", "-5", "0-99999999999999999999"):
        refused(own.api.patch(location, content=b"x", headers=BYTES | {"content-range": range}), 400, "BLOB_UPLOAD_INVALID")
    assert own.api.get(location).headers["range"] == "0-0"


def test_an_upload_that_broke_off_goes_on_where_it_stopped_even_after_a_kill(tmp_path):
    content = os.urandom(3_000_000)
    with Server(tmp_path) as server:
        repository = Repository(server.api(), "feira/broken")
        location = repository.upload()
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port)) as line:
            head = f"PATCH {location} HTTP/1.1\r\nhost: {address.netloc}\r\nauthorization: Bearer {server.token}\r\n"
            line.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content[:1_000_000])

            def a_megabyte_arrived() -> bool:
                return repository.api.get(location).headers["range"] == "0-999999"

            until(a_megabyte_arrived, 20)
        server.kill()
        server.start()
        repository = Repository(server.api(), "feira/broken")
        assert repository.api.get(location).headers["range"] == "0-999999"
        answer = put(repository, location, content[1_000_000:], digest_of(content), **{"content-range": "1000000-2999999"})
        assert answer.status_code == 201, answer.text
        assert repository.blob(digest_of(content)).content == content


def test_an_upload_is_its_accounts(server: Server, api: Api, own: Repository):
    id = own.upload().rsplit("/", 1)[1]
    foreign = Repository(api, "feira/foreign").path(f"blobs/uploads/{id}")
    for answer in (api.get(foreign), api.patch(foreign, content=b"x"), api.delete(foreign)):
        refused(answer, 404, "BLOB_UPLOAD_UNKNOWN")
    refused(api.put(foreign, params={"digest": digest_of(b"x")}, content=b"x"), 404, "BLOB_UPLOAD_UNKNOWN")
