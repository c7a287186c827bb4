"""An S3 server of our own on this machine (moto's), with one empty bucket, thrown away afterwards.

`python -m harness.s3` serves one until its standard input closes, and prints its address: for `cargo test` by hand.
"""

import contextlib
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

from harness import tools
from harness.tools import TESTS
from harness.wait import until

READY_SECONDS_MAX = 60
BUCKET = "feira-tests"


@contextlib.contextmanager
def private_s3() -> Iterator[str]:
    """Yields the address of the bucket, whose last part is its name."""
    python = tools.python("s3", TESTS / "requirements-s3.txt")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [python, "-m", "harness.s3_server", str(port)]
    with subprocess.Popen(command, cwd=TESTS, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            bucket = f"http://127.0.0.1:{port}/{BUCKET}"
            until(lambda: process.poll() is not None or _made(bucket), READY_SECONDS_MAX)
            if process.poll() is not None:
                raise tools.Missing("the S3 server of the tests does not start")
            yield bucket
        finally:
            process.terminate()


def _made(bucket: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(bucket, method="PUT")) as answer:
            return answer.status == 200
    except urllib.error.URLError:
        return False


def environment(bucket: str) -> dict[str, str]:
    """What a server is told beside `--blobs s3://…`: moto takes any credentials, but wants some."""
    endpoint = bucket.rpartition("/")[0]
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "feira-tests",
        "AWS_SECRET_ACCESS_KEY": "feira-tests",
    }


if __name__ == "__main__":
    with private_s3() as bucket:
        print(bucket, flush=True)
        sys.stdin.read()
