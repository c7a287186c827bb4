"""The released Python client, pointed at the demo server: the address is all that changes."""

import os

# Read when the client is imported: looking twenty times a second keeps the tests short.
os.environ["REPLICATE_POLL_INTERVAL"] = "0.05"

import pytest  # noqa: E402
import replicate  # noqa: E402

from harness.server import Server  # noqa: E402


@pytest.fixture(scope="session")
def client(demo: Server) -> replicate.Client:
    return replicate.Client(api_token=demo.token, base_url=demo.url)
