"""What each suite runs, in the order of the road from the smallest part to the whole house."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from harness import tools
from harness.s3 import private_s3
from harness.tally import Steps, Tally
from harness.tools import ROOT, TESTS

LOGS = ROOT / "target" / "test-logs"
SCREENSHOTS = ROOT / "target" / "screenshots"


def unit(steps: Steps) -> Tally:
    """The rooms by themselves: format, lints, and every test of the workspace on both databases and every store."""
    environment = {"CARGO_TARGET_DIR": str(tools.target())}
    tally = steps.run("format", ["cargo", "fmt", "--all", "--check"], folder=ROOT, environment=environment)
    clippy = ["cargo", "clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]
    tally += steps.run("clippy", clippy, folder=ROOT, environment=environment)
    with private_postgres() as url, private_s3() as bucket:
        # The profile of the program under test: its dependencies are built once, which is most of the time on a small machine.
        test = ["cargo", "test", "--release", "--locked", "--workspace", "--no-fail-fast"]
        tally += steps.run("workspace", test, folder=ROOT, environment=environment | {"FEIRA_TEST_DATABASE_URL": url, "FEIRA_TEST_S3_URL": bucket})
    guests = ["cargo", "test", "--locked", "--workspace"]
    tally += steps.run("guests", guests, folder=ROOT / "hooks" / "guests", environment=guests_target())
    return tally


def api(steps: Steps) -> Tally:
    """The HTTP API, as released clients look at it; every row of the conformance list."""
    tools.javascript()
    return pytest(steps, "api", "conformance")


def clients(steps: Steps) -> Tally:
    """Released clients of Python and JavaScript, each in an environment of its own, and our command line, on the demo models."""
    tools.javascript()
    with demo_server() as environment:
        tally = pytest(steps, "clients/replicate1", "clients/command_line", environment=environment)
        for client in ("replicate2", "langchain", "openai"):
            tally += pytest(steps, f"clients/{client}", environment=environment, client=client)
        tally += node(steps, "client", environment)
        tally += node(steps, "webhooks", environment)
        tally += node(steps, "ai-sdk", environment)
    return tally


def registry(steps: Steps) -> Tally:
    """Publishing, blobs, files, who may see what, on a folder and on S3, and the OCI API as released tools use it."""
    tools.skopeo()
    with private_s3() as bucket:
        return pytest(steps, "registry", environment={"FEIRA_TEST_S3_URL": bucket})


def runner(steps: Steps) -> Tally:
    """Model processes: bad ones, slow ones, cancelled ones, and a hostile one behind strict walls."""
    return pytest(steps, "runner")


def hooks(steps: Steps) -> Tally:
    """Hooks built from source, honest and hostile, on real versions."""
    tools.wasm_target()
    with tempfile.TemporaryDirectory() as built:
        build = ["sh", ROOT / "hooks" / "guests" / "build.sh", built]
        tally = steps.run("guests", build, folder=ROOT, environment=guests_target())
        tally += pytest(steps, "hooks", environment={"FEIRA_TEST_GUESTS": built})
    return tally


def billing(steps: Steps) -> Tally:
    """What runs cost, and the laws of the ledger."""
    return pytest(steps, "billing")


def web(steps: Steps) -> Tally:
    """The pages in Chromium, with scripts and without."""
    tools.javascript()
    browser = {"FEIRA_TEST_CHROMIUM": str(tools.chromium()), "FEIRA_TEST_SCREENSHOTS": str(SCREENSHOTS)}
    with demo_server() as environment:
        return node(steps, "web", environment | browser)


def scale(steps: Steps) -> Tally:
    """The API and its bills once more, over PostgreSQL; several gateways on one database and one bucket."""
    tools.javascript()
    with private_postgres() as url, private_s3() as bucket:
        environment = {"FEIRA_TEST_S3_URL": bucket}
        return pytest(steps, "api", "conformance", "billing/test_charges.py", "scale", options=["--database-url", url], environment=environment)


def faults(steps: Steps) -> Tally:
    """kill -9 of the server and of models, SIGTERM, bombs, and what must hold after them."""
    return pytest(steps, "faults")


SUITES = {suite.__name__: suite for suite in (unit, api, clients, registry, runner, hooks, billing, web, scale, faults)}


def pytest(
    steps: Steps,
    *paths: str,
    options: Sequence[str] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
    client: str | None = None,
) -> Tally:
    """Runs tests in one process; those of a client that cannot live beside the others' packages, in that client's own venv."""
    name = client or "pytest"
    python = tools.python(client, TESTS / f"requirements-{client}.txt") if client else venv()
    report = LOGS / f"{steps.suite}-{name}.xml"
    with tempfile.TemporaryDirectory(prefix="feira-tests-") as folder:
        # Models run as other users, who must find the way to their environments.
        os.chmod(folder, 0o711)
        command = [python, "-m", "pytest", f"--basetemp={folder}/pytest", f"--junitxml={report}", *options, *paths]
        return steps.run(name, command, folder=TESTS, environment={**under_test(), **environment}, report=report)


def node(steps: Steps, name: str, environment: dict[str, str]) -> Tally:
    report = LOGS / f"{steps.suite}-{name}.xml"
    reporters = ["--test-reporter=spec", "--test-reporter-destination=stdout", "--test-reporter=junit", f"--test-reporter-destination={report}"]
    command = ["node", "--test", *reporters, f"{name}.test.mjs"]
    return steps.run(name, command, folder=TESTS / "js", environment=environment, report=report)


def venv() -> Path:
    return tools.python("python", TESTS / "requirements.txt")


def under_test() -> dict[str, str]:
    """Which program is tested, and what it may take from earlier runs."""
    cache = tools.cache()
    found = {"FEIRA_BIN": str(tools.binary()), "FEIRA_TEST_WEIGHTS": str(cache / "weights")}
    return found if "UV_CACHE_DIR" in os.environ else found | {"UV_CACHE_DIR": str(cache / "uv")}


def guests_target() -> dict[str, str]:
    return {"CARGO_TARGET_DIR": str(tools.target() / "guests")}


@contextlib.contextmanager
def private_postgres() -> Iterator[str]:
    """A PostgreSQL of our own, thrown away afterwards."""
    tools.postgres()
    script = ["sh", str(TESTS / "postgres.sh")]
    with tempfile.TemporaryDirectory(prefix="feira-postgres-") as folder:
        # It runs as a user of its own, who must find the way to its data.
        os.chmod(folder, 0o711)
        started = subprocess.run([*script, "start", f"{folder}/server"], capture_output=True, text=True)
        if started.returncode:
            raise tools.Missing(f"PostgreSQL does not start:\n{started.stderr}")
        try:
            yield started.stdout.strip()
        finally:
            subprocess.run([*script, "stop", f"{folder}/server"], check=True)


@contextlib.contextmanager
def demo_server() -> Iterator[dict[str, str]]:
    """One server with all demo models open, for tests in several languages. Yields what they need to know."""
    with tempfile.TemporaryDirectory(prefix="feira-demo-") as folder:
        os.chmod(folder, 0o711)
        environment = {**os.environ, **under_test()}
        command = [venv(), "-m", "harness.demo", folder]
        with subprocess.Popen(command, cwd=TESTS, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            line = process.stdout.readline()
            if not line:
                raise tools.Missing("the demo models did not open")
            opened = json.loads(line)
            try:
                yield under_test() | {"FEIRA_TEST_URL": opened["url"], "FEIRA_TEST_HOME": opened["home"]}
            finally:
                process.stdin.close()
                process.wait()
