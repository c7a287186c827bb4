"""Asks the released JavaScript client from a test in Python."""

import json
import os
import subprocess
from pathlib import Path

from harness.api import Api

SCRIPTS = Path(__file__).resolve().parent.parent / "js"


def node(script: str, api: Api, question: object) -> object:
    """Runs a script of `js/`, which reads a question and answers in JSON; `tests/run` has installed what it imports."""
    environment = {**os.environ, "FEIRA_TEST_URL": api.url, "FEIRA_TEST_TOKEN": api.token}
    done = subprocess.run(["node", script], cwd=SCRIPTS, env=environment, input=json.dumps(question), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
