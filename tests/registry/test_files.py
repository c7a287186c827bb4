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
    assert httpx.get(output.partition("?")[0]).status_code == 404


def test_a_file_too_large_is_refused_in_replicates_words(api: Api):
    def pieces():
        for _ in range(101):
            yield b"\0" * 1024 * 1024

    boundary = "boundary"
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="content"; filename="big"\r\n\r\n'.encode()

    def body():
        yield head
        yield from pieces()
        yield f"\r\n--{boundary}--\r\n".encode()

    answer = api.post("/v1/files", content=body(), headers={"content-type": f"multipart/form-data; boundary={boundary}"})
    assert problem(answer, 413)["detail"] == "Files must be less than 100MB in size"


def test_each_clients_form_is_understood(api: Api):
    metadata = '{"a": "1", "b": [2]}'
    forms = [
        {"files": {"content": ("höhe.txt", b"x"), "metadata": (None, metadata, "application/json")}},
        {"files": {"metadata": ("blob", metadata, "application/json"), "content": ("blob_1700000000000", b"x", "text/plain")}},
        {"files": {"content": ("upload", b"x")}, "data": {"metadata": metadata, "filename": "höhe.txt", "type": "text/x-note"}},
    ]
    files = [api.post("/v1/files", **form).json() for form in forms]
    assert [file["metadata"] for file in files] == [{"a": "1", "b": [2]}] * 3
    assert [file["name"] for file in files] == ["höhe.txt", "blob_1700000000000", "höhe.txt"]
    assert [file["content_type"] for file in files] == ["text/plain", "text/plain", "text/x-note"]
    bracketed = api.post("/v1/files", files={"content": ("a", b"x")}, data={"metadata[a]": "1"}).json()
    assert bracketed["metadata"] == {"a": "1"}
    assert bracketed["checksums"]["md5"] == hashlib.md5(b"x").hexdigest()
    problem(api.post("/v1/files", files={"content": ("x" * 256, b"x")}), 422)
    problem(api.post("/v1/files", data={"filename": "a"}, files={"other": ("a", b"x")}), 400)


def test_a_download_gives_parts_its_name_and_nothing_that_is_known(api: Api, published):
    file = api.upload("in.txt", b"0123456789", "text/plain")
    output = api.run(published("files"), {"file": file["urls"]["get"]})["output"]
    whole = httpx.get(output)
    assert whole.headers["content-disposition"].startswith('inline; filename="') and whole.headers["accept-ranges"] == "bytes"
    part = httpx.get(output, headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, whole.content[2:5], "bytes 2-4/10")
    same = httpx.get(output, headers={"range": "bytes=2-4", "if-range": whole.headers["etag"]})
    other = httpx.get(output, headers={"range": "bytes=2-4", "if-range": '"another"'})
    assert (same.status_code, other.status_code, other.content) == (206, 200, whole.content)
    problem(httpx.get(output, headers={"range": "bytes=10-"}), 416)
    assert httpx.get(output, headers={"if-none-match": whole.headers["etag"]}).status_code == 304
    head = httpx.head(output)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "10", b"")
