"""Input that no honest client sends: told as a problem that helps, never a failure of ours, and the same for the private as for the unknown."""

import json
import socket

import pytest

from harness.api import Api, problem
from harness.server import Server

JSON = {"content-type": "application/json"}
NUL = "a\0b"


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"a":1,}', b"nonsense", b'{"input": "\\ud800"}', b'{"input": 1e999}', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 200 + b"1" + b"}" * 200],
)
def test_a_body_that_is_not_json_is_refused(api: Api, body: bytes):
    for path in ("/v1/predictions", "/v1/models", "/v1/collections", "/v1/account/tokens"):
        problem(api.post(path, content=body, headers=JSON), 400)


@pytest.mark.parametrize("body", [b"[]", b"7", b'"x"', b"null"])
def test_a_body_that_is_no_object_is_refused(api: Api, body: bytes):
    assert "object" in problem(api.post("/v1/predictions", content=body, headers=JSON), 400)["detail"]


def test_a_wrong_type_names_its_field_and_no_type_of_ours(api: Api):
    told = problem(api.post("/v1/models", json={"owner": 7, "name": "x", "visibility": "public", "hardware": "cpu"}), 422)
    assert told["invalid_fields"][0]["field"] == "owner"
    told = problem(api.post("/v1/models/feira/x/versions", json={"config": 7, "files": []}), 422)
    assert told["invalid_fields"][0]["field"] == "config" and "struct" not in told["detail"]


def test_a_huge_body_is_refused_and_the_sender_learns_why(api: Api):
    body = b'{"input": "' + b"x" * (20 << 20) + b'"}'
    assert "larger than" in problem(api.post("/v1/predictions", content=body, headers=JSON), 413)["detail"]


@pytest.mark.parametrize(("method", "path"), [("PUT", "/v1/predictions"), ("DELETE", "/v1/account"), ("FOO", "/v1/models"), ("PATCH", "/files")])
def test_a_wrong_method_is_told_the_right_ones(api: Api, method: str, path: str):
    answer = api.request(method, path)
    problem(answer, 405)
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nope", "/v1/models/a/b/c/d/e", "/predictions/a/b/c", "/v1/v1/nope", "/v1//models"])
def test_an_unknown_route_is_a_problem_not_a_page(api: Api, path: str):
    problem(api.get(path), 404)


@pytest.mark.parametrize("path", ["/v1/models/%ff/x", "/v1/models/a%00b/x", "/v1/files/%00", "/v1/predictions/%f0%28", "/v1/collections/..%2f..", "/v1/models/%2e%2e/x"])
def test_an_odd_path_is_a_problem(api: Api, path: str):
    assert problem(api.get(path), api.get(path).status_code)["status"] in (400, 404)


def test_an_empty_body_with_a_json_type_is_taken_where_none_is_needed(api: Api):
    for body in (b"", b"{}", b"garbage"):
        problem(api.post(f"/v1/predictions/{'0' * 26}/cancel", content=body, headers=JSON), 404)
        problem(api.request("DELETE", "/v1/files/nope", content=body, headers=JSON), 404)
    assert api.get("/v1/account", headers=JSON).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/v1/predictions", "/v1/files", "/v1/collections"])
@pytest.mark.parametrize("cursor", ["x", "", "%00", "e30", "%ff", "9" * 400])
def test_a_foreign_cursor_is_refused(api: Api, path: str, cursor: str):
    problem(api.get(f"{path}?cursor={cursor}"), 400)


@pytest.mark.parametrize("query", ["limit=0", "limit=51", "limit=-1", f"limit={'9' * 40}", "limit=many"])
def test_an_absurd_limit_is_refused(api: Api, query: str):
    problem(api.get(f"/v1/search?query=x&{query}"), 400)


@pytest.mark.parametrize("query", ["%00", "%ff%fe", "'; drop table model; --", "x" * 5000, "%25%5F!", "\U0001f600"])
def test_any_search_is_answered(api: Api, query: str):
    assert api.get(f"/v1/search?query={query}").status_code == 200


def test_no_text_with_a_zero_byte_reaches_a_database(api: Api):
    """PostgreSQL refuses it in a text, and would fail."""
    model = {"owner": "feira", "name": "zero", "visibility": "private", "hardware": "cpu"}
    assert api.post("/v1/models", json=model).status_code == 201
    refused = [
        api.post("/v1/models", json=model | {"name": NUL}),
        api.post("/v1/models", json=model | {"name": "zero-2", "description": NUL}),
        api.post("/v1/models", json=model | {"name": "zero-3", "task": NUL}),
        api.patch("/v1/models/feira/zero", json={"readme": NUL}),
        api.patch("/v1/models/feira/zero", json={"github_url": "https://" + NUL}),
        api.post("/v1/account/tokens", json={"name": NUL}),
        api.post("/v1/accounts", json={"name": NUL}),
        api.post("/v1/accounts/feira/credit", json={"amount": "1", "key": NUL}),
        api.post("/v1/collections", json={"slug": "zero", "name": NUL}),
        api.post("/v1/collections", json={"slug": NUL, "name": "zero"}),
        api.post("/v1/predictions", json={"version": NUL, "input": {}}),
        api.post("/v1/files", files={"content": ("a", b"x")}, data={"filename": NUL}),
        api.post("/v1/files", files={"content": ("a", b"x")}, data={"type": NUL}),
    ]
    for answer in refused:
        problem(answer, 422)


def test_an_input_with_a_zero_byte_is_an_input(api: Api, published):
    assert api.run(published("echo"), {"text": NUL})["status"] in ("succeeded", "failed")


def test_a_credit_without_end_is_refused(api: Api):
    for amount in ("9223372036", "1e400", "-1", "nan", "99999999999999999999"):
        answer = api.post("/v1/accounts/feira/credit", json={"amount": amount})
        assert answer.status_code in (201, 422), answer.text


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\n"),
        ("multipart/form-data; boundary=b", b'--b\r\ncontent-disposition: form-data; name="metadata"\r\n\r\n[1]\r\n--b--\r\n'),
        ("application/json", b"{}"),
        ("text/plain", b""),
    ],
)
def test_a_form_that_is_none_is_refused(api: Api, content_type: str, body: bytes):
    problem(api.post("/v1/files", content=body, headers={"content-type": content_type}), 400)


def test_headers_that_come_twice_or_in_odd_bytes_do_no_harm(server: Server):
    host, port = server.url.removeprefix("http://").split(":")
    request = (
        f"GET /v1/account HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {server.token}\r\nauthorization: Bearer junk\r\n"
        "prefer: wait\r\nprefer: \xff\r\nidempotency-key: \xe9\r\nconnection: close\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(request.encode("latin-1"))
        answer = connection.makefile("rb").read()
    assert int(answer.split()[1]) in (200, 400, 401)


def test_a_stranger_sees_the_private_exactly_as_the_unknown(server: Server, api: Api):
    api.post("/v1/models", json={"owner": "feira", "name": "hidden", "visibility": "private", "hardware": "cpu"})
    file = api.upload("hidden.txt", b"hidden")["id"]
    absent = "fil_" + "0" * 26
    stranger = server.api(server.account("stranger"))
    pairs = [(method, f"/v1/models/feira/hidden{end}", f"/v1/models/feira/absent{end}", None) for method, end in [
        ("GET", ""), ("GET", "/readme"), ("GET", "/examples"), ("GET", "/versions"), ("GET", f"/versions/{'0' * 64}"), ("DELETE", ""), ("DELETE", f"/versions/{'0' * 64}"),
    ]]
    pairs += [("PATCH", "/v1/models/feira/hidden", "/v1/models/feira/absent", {"description": "x"})]
    pairs += [("POST", "/v1/models/feira/hidden/predictions", "/v1/models/feira/absent/predictions", {"input": {}})]
    pairs += [(method, f"/v1/files/{file}{end}", f"/v1/files/{absent}{end}", None) for method, end in [
        ("GET", ""), ("DELETE", ""), ("GET", "/download"), ("GET", "/download?owner=feira&expiry=9999999999&signature=x"), ("GET", "/download/a.png?expiry=soon"),
    ]]
    for method, private, unknown, body in pairs:
        content = json.dumps(body).encode() if body else None
        seen, expected = (stranger.request(method, path, content=content, headers=JSON) for path in (private, unknown))
        problem(seen, 404)
        assert seen.content == expected.content, private
    seen, expected = (stranger.post("/v1/predictions", json={"version": f"feira/{name}", "input": {}}) for name in ("hidden", "absent"))
    assert problem(seen, 422) and seen.content == expected.content
