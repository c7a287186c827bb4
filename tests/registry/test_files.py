"""Files of callers: kept with their checksums, fetched by those who may."""

import hashlib

import httpx

from harness.api import Api, problem
from harness.server import Server


def test_a_file_is_described_as_at_replicate(api: Api):
    content = b"some bytes"
    file = api.upload("note.txt", content, "text/plain")
    assert (file["name"], file["size"], file["content_type"]) == ("note.txt", len(content), "text/plain")
    assert file["checksums"]["sha256"] == hashlib.sha256(content).hexdigest() and file["etag"]
    assert api.get(f"/v1/files/{file['id']}").json() == file
    assert file["id"] in [one["id"] for one in api.get("/v1/files").json()["results"]]


def test_a_file_is_its_owners_and_gone_once_deleted(server: Server, api: Api):
    file = api.upload("mine.txt", b"mine")
    stranger = server.api(server.account("reader"))
    problem(stranger.get(f"/v1/files/{file['id']}"), 404)
    problem(stranger.delete(f"/v1/files/{file['id']}"), 404)
    assert api.delete(f"/v1/files/{file['id']}").status_code == 204
    problem(api.get(f"/v1/files/{file['id']}"), 404)


def test_an_output_address_works_only_as_it_was_signed(server: Server, api: Api, published):
    file = api.upload("in.txt", b"abc", "text/plain")
    output = api.run(published("files"), {"file": file["urls"]["get"]})["output"]
    assert httpx.get(output).content == b"cba"
    assert httpx.get(output.replace("signature=", "signature=A")).status_code == 404
    assert httpx.get(output.partition("?")[0]).status_code == 400
