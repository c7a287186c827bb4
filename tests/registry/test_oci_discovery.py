"""Finding what is there: the distribution specification's conformance list, rows M."""

import json
import re

import pytest

from harness.api import Api
from harness.oci import INDEX, MANIFEST, Repository, artefact, descriptor, digest_of, refused, spelled

TAGS = ["a", "B", "c", "V10", "v2", "v2-rc"]


@pytest.fixture(scope="module")
def tagged(api: Api) -> Repository:
    repository = Repository(api, "feira/tagged")
    for tag in reversed(TAGS):
        repository.note(tag, b"text")
    return repository


@pytest.fixture(scope="module")
def referred(api: Api) -> tuple[Repository, dict, dict[str, dict]]:
    """A note, and what five others that are about it are."""
    repository = Repository(api, "feira/referred")
    repository.push(b"{}")
    subject = descriptor(MANIFEST, spelled(artefact(b"text")))
    about = {}
    for n in range(5):
        kind = "application/x-even" if n % 2 == 0 else "application/x-odd"
        manifest = artefact(kind=kind, subject=subject, annotations={"n": str(n)})
        digest = repository.publish("", manifest)
        about[digest] = descriptor(MANIFEST, spelled(manifest), artifactType=kind, annotations={"n": str(n)})
    repository.note("note", b"text")
    return repository, subject, about


def next_page(answer) -> str:
    return re.fullmatch(r'<(.+)>; rel="next"', answer.headers["link"])[1]


def test_M1_tags_are_listed_by_letter(tagged: Repository):
    answer = tagged.tags()
    assert (answer.status_code, answer.json()) == (200, {"name": "feira/tagged", "tags": TAGS})
    assert "link" not in answer.headers


def test_M2_as_many_tags_are_listed_as_were_asked_for(tagged: Repository):
    assert tagged.tags(n=3).json()["tags"] == TAGS[:3]
    assert tagged.tags(n=0).json()["tags"] == []


def test_M3_a_list_of_tags_begins_after_the_last_one(tagged: Repository):
    assert tagged.tags(n=3, last="c").json()["tags"] == TAGS[3:]
    assert tagged.tags(last="v2-beta").json()["tags"] == ["v2-rc"]
    assert tagged.tags(last="z").json()["tags"] == []


def test_M4_a_list_of_tags_leads_to_its_next_page(tagged: Repository):
    answer = tagged.tags(n=4)
    rest = tagged.api.get(next_page(answer))
    assert (answer.json()["tags"], rest.json()["tags"]) == (TAGS[:4], TAGS[4:])
    assert "link" not in rest.headers


def test_M5_nothing_is_about_what_is_not_there(tagged: Repository):
    answer = tagged.referrers(digest_of(b"nobody has this"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, INDEX)
    assert answer.json() == {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}


def test_M6_what_is_about_a_manifest_is_listed_with_its_kind_and_its_annotations(referred: tuple[Repository, dict, dict[str, dict]]):
    repository, subject, about = referred
    answer = repository.referrers(subject["digest"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, INDEX)
    assert {one["digest"]: one for one in answer.json()["manifests"]} == about


def test_M7_referrers_of_one_kind_are_listed_and_the_filter_is_named(referred: tuple[Repository, dict, dict[str, dict]]):
    repository, subject, about = referred
    answer = repository.referrers(subject["digest"], artifactType="application/x-odd")
    assert answer.headers["oci-filters-applied"] == "artifactType"
    listed = {one["digest"] for one in answer.json()["manifests"]}
    assert listed == {digest for digest, one in about.items() if one["artifactType"] == "application/x-odd"}
    assert "oci-filters-applied" not in repository.referrers(subject["digest"]).headers


def test_M8_what_is_about_something_that_is_not_there_is_listed_too(repository: Repository):
    subject = descriptor(MANIFEST, b"not here")
    digest = repository.publish("", artefact(subject=subject), b"{}")
    assert [one["digest"] for one in repository.referrers(subject["digest"]).json()["manifests"]] == [digest]
    refused(repository.referrers("sha256:no-digest"), 400, "DIGEST_INVALID")


def test_M9_a_list_of_many_referrers_leads_to_its_next_page(repository: Repository):
    repository.push(b"{}")
    subject = descriptor(MANIFEST, b"a subject")
    pushed = {repository.publish("", artefact(subject=subject, annotations={"n": str(n)})) for n in range(105)}
    first = repository.referrers(subject["digest"])
    rest = repository.api.get(next_page(first))
    listed = [one["digest"] for answer in (first, rest) for one in answer.json()["manifests"]]
    assert len(first.json()["manifests"]) == 100 and "link" not in rest.headers
    assert set(listed) == pushed and len(listed) == len(pushed)


def test_M10_the_catalog_names_the_repositories_that_hold_something(tagged: Repository, repository: Repository):
    repository.push(b"loose")
    names = tagged.api.get("/v2/_catalog", params={"n": 1000}).json()["repositories"]
    assert "feira/tagged" in names and repository.name not in names and names == sorted(names)


def test_M11_the_catalog_leads_to_its_next_page(api: Api, tagged: Repository, referred: tuple[Repository, dict, dict[str, dict]]):
    whole = api.get("/v2/_catalog", params={"n": 1000}).json()["repositories"]
    seen, path = [], "/v2/_catalog?n=2"
    while path:
        answer = api.get(path)
        seen += answer.json()["repositories"]
        path = next_page(answer) if "link" in answer.headers else ""
    assert seen == whole and len(whole) > 2, json.dumps([seen, whole])
