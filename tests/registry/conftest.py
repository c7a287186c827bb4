"""What the tests of the registry share."""

from collections.abc import Callable

import pytest

from harness.api import Api
from harness.oci import Repository


@pytest.fixture
def repository(api: Api, request: pytest.FixtureRequest) -> Repository:
    """The operator's own repository of this test's name."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower())
    return Repository(api, f"feira/{name[5:60].strip('-')}")


@pytest.fixture
def repositories(api: Api) -> Callable[[str], Repository]:
    return lambda name: Repository(api, f"feira/{name}")
