"""Who may pull and push: tokens as passwords, passes, strangers, and nobody."""

import os
import re

import httpx
import pytest

from harness.api import Api
from harness.oci import MANIFEST, Repository, artefact, digest_of, refused, spelled
from harness.server import Server

TEXT = b"for everybody"


@pytest.fixture(scope="module")
def public(server: Server, api: Api) -> Repository:
    """A public repository of the operator with one artefact."""
    api.post("/v1/models", json={"owner": "feira", "name": "open", "visibility": "public", "hardware": "cpu"})
    repository = Repository(api, "feira/open")
    repository.note("one", TEXT)
    return repository


@pytest.fixture(scope="module")
def secret(api: Api) -> Repository:
    repository = Repository(api, "feira/closed")
    repository.note("one", b"for nobody")
    return repository


@pytest.fixture(scope="module")
def stranger(server: Server) -> str:
    return server.account(f"stranger-{os.urandom(3).hex()}")


def bare(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url)


def challenge(answer: httpx.Response) -> dict[str, str]:
    scheme, _, rest = answer.headers["www-authenticate"].partition(" ")
    assert scheme == "Bearer"
    return dict(re.findall(r'(\w+)="([^"]*)"', rest))


def issued(server: Server, scope: str, token: str | None = None, user: str = "feira") -> Api:
    """A client with the pass that a token, or nobody, is given."""
    answer = httpx.get(f"{server.url}/v2/token", params={"service": "feira", "scope": scope}, auth=(user, token) if token else None)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["token"] == told["access_token"] and 60 <= told["expires_in"] <= 900
    return Api(server.url, told["token"])


def test_nobody_is_told_where_to_get_a_token(server: Server):
    for path in ("/v2/", "/v2"):
        answer = bare(server).get(path)
        refused(answer, 401, "UNAUTHORIZED")
        assert challenge(answer) == {"realm": f"{server.url}/v2/token", "service": "feira"}
        assert answer.headers["docker-distribution-api-version"] == "registry/2.0"


def test_a_challenge_names_the_repository_and_what_can_be_done_with_it(server: Server, secret: Repository):
    client = bare(server)
    for answer in (client.get(secret.path("manifests/one")), client.post(secret.path("blobs/uploads/"))):
        assert challenge(answer)["scope"] == "repository:feira/closed:pull,push"
    assert challenge(client.delete(secret.path("manifests/one")))["scope"] == "repository:feira/closed:pull,push,delete"


def test_a_token_is_taken_as_bearer_and_as_the_password_of_any_user(server: Server):
    assert server.api().get("/v2/").json() == {}
    for user in ("feira", "anybody"):
        assert httpx.get(f"{server.url}/v2/", auth=(user, server.token)).status_code == 200
    for wrong in ("fe_wrong", server.token[:-1]):
        refused(httpx.get(f"{server.url}/v2/", auth=("feira", wrong)), 401, "UNAUTHORIZED")
        refused(httpx.get(f"{server.url}/v2/token", auth=("feira", wrong)), 401, "UNAUTHORIZED")
        refused(Api(server.url, wrong).get("/v2/"), 401, "UNAUTHORIZED")


def test_everybody_pulls_what_is_public_with_and_without_a_pass(server: Server, public: Repository):
    anonymous = issued(server, f"repository:{public.name}:pull,push")
    for client in (bare(server), anonymous):
        assert client.get(public.path("manifests/one")).headers["content-type"] == MANIFEST
        assert client.get(public.path(f"blobs/{digest_of(TEXT)}")).content == TEXT
        assert public.name in client.get("/v2/_catalog", params={"n": 1000}).json()["repositories"]
        refused(client.post(public.path("blobs/uploads/")), 401, "UNAUTHORIZED")
        refused(client.delete(public.path("manifests/one")), 401, "UNAUTHORIZED")


def test_a_private_repository_reads_exactly_as_one_that_is_not_there(server: Server, secret: Repository, stranger: str):
    unknown = "feira/never-was"
    clients = [bare(server), Api(server.url, stranger)]
    clients += [issued(server, f"repository:{secret.name}:pull repository:{unknown}:pull", token, "x") for token in (None, stranger)]
    for client in clients:
        for rest in ("manifests/one", "tags/list", f"blobs/{digest_of(b'for nobody')}", f"referrers/{digest_of(b'x')}"):
            there, never = (client.get(f"/v2/{name}/{rest}") for name in (secret.name, unknown))
            assert (there.status_code, there.content) == (never.status_code, never.content)
            assert there.status_code in (401, 404)
        assert secret.name not in client.get("/v2/_catalog", params={"n": 1000}).json()["repositories"]


def test_nobody_pushes_into_the_namespace_of_another(server: Server, secret: Repository, stranger: str):
    for name in (secret.name, "feira/never-was", "feira/open"):
        theirs = Repository(Api(server.url, stranger), name)
        refused(theirs.begin(), 403, "DENIED")
        refused(theirs.put("one", spelled(artefact())), 403, "DENIED")
        refused(theirs.api.delete(theirs.path(f"blobs/{digest_of(TEXT)}")), 403, "DENIED")
    assert server.api().get("/v1/models/feira/never-was").status_code == 404


def test_a_blob_is_not_mounted_from_where_one_may_not_read(server: Server, secret: Repository, stranger: str):
    api = Api(server.url, stranger)
    own = Repository(api, f"{api.get('/v1/account').json()['username']}/mine")
    answer = own.begin(mount=digest_of(b"for nobody"), **{"from": secret.name})
    assert answer.status_code == 202, "told to upload it, as if it were nowhere"
    own.push(b"{}")
    told = refused(own.put("one", spelled(artefact(b"for nobody"))), 400, "MANIFEST_BLOB_UNKNOWN")
    assert digest_of(b"for nobody") in told
    assert own.blob(digest_of(b"for nobody")).status_code == 404


def test_a_pass_opens_what_was_asked_for_and_nothing_else(server: Server, public: Repository, secret: Repository):
    puller = issued(server, f"repository:{secret.name}:pull", server.token)
    assert puller.get(secret.path("manifests/one")).status_code == 200
    refused(puller.post(secret.path("blobs/uploads/")), 401, "UNAUTHORIZED")
    refused(puller.get(public.path("manifests/one")), 401, "UNAUTHORIZED")
    refused(puller.get("/v2/token"), 401, "UNAUTHORIZED")
    pusher = issued(server, f"repository:{secret.name}:pull,push", server.token)
    Repository(pusher, secret.name).note("two", b"pushed with a pass")
    assert pusher.get("/v1/account").status_code == 401, "it is no API token"


def test_a_pass_is_worth_no_more_than_its_token_and_ends_with_it(server: Server, api: Api, secret: Repository):
    made = api.post("/v1/account/tokens", json={"name": "reads", "scopes": ["models:read"]}).json()
    scope = f"repository:{secret.name}:pull,push"
    reader = issued(server, scope, made["token"])
    assert reader.get(secret.path("manifests/one")).status_code == 200
    refused(reader.post(secret.path("blobs/uploads/")), 403, "DENIED")
    refused(Api(server.url, made["token"]).post(secret.path("blobs/uploads/")), 403, "DENIED")
    assert api.delete(f"/v1/account/tokens/{made['id']}").status_code in (200, 202, 204)
    refused(reader.get(secret.path("manifests/one")), 401, "UNAUTHORIZED")


def test_the_first_push_makes_a_private_model(server: Server, api: Api, repository: Repository):
    repository.upload()
    assert api.get(f"/v1/models/{repository.name}").status_code == 404, "an upload that nobody ends makes nothing"
    repository.push(b"first")
    model = api.get(f"/v1/models/{repository.name}").json()
    assert (model["visibility"], model["latest_version"]) == ("private", None)


def test_what_is_served_is_nothing_that_a_browser_would_run(repository: Repository):
    page = b"<script>alert(1)</script>"
    repository.note("page", page)
    for answer in (repository.blob(digest_of(page)), repository.manifest("page")):
        assert answer.headers["x-content-type-options"] == "nosniff" and "sandbox" in answer.headers["content-security-policy"]
    refused(repository.put("html", spelled(artefact() | {"mediaType": "text/html"}), "text/html"), 400, "MANIFEST_INVALID")
