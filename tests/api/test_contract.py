"""The server held against its own contract by schemathesis: nothing that it makes up may get an answer that /openapi.json does not tell."""

import os
import signal
import subprocess
from pathlib import Path

from harness import tools
from harness.server import Server

SEED = 20261124
# Cases of one operation in each phase; `tests/nightly` asks for more.
EXAMPLES = os.environ.get("FEIRA_CONTRACT_EXAMPLES", "3")
SECONDS_MAX = int(os.environ.get("FEIRA_CONTRACT_SECONDS", "300"))
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"


def test_every_answer_is_one_that_the_contract_tells(tmp_path: Path):
    interpreter = tools.python("schemathesis", tools.TESTS / "requirements-schemathesis.txt")
    with Server(tmp_path) as server:
        command = [interpreter.parent / "schemathesis", "run", f"{server.url}/openapi.json", "--checks", CHECKS]
        command += ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", EXAMPLES, "--seed", str(SEED)]
        command += ["--suppress-health-check", "all", "--request-timeout", "70", "--header", f"Authorization: Bearer {server.token}", "--no-color"]
        environment = os.environ | {"SCHEMATHESIS_HOOKS": "harness.contract_hooks", "PYTHONPATH": str(tools.TESTS)}
        log = tmp_path / "schemathesis.log"
        with log.open("w") as output:
            run = subprocess.Popen(list(map(str, command)), env=environment, cwd=tmp_path, stdout=output, stderr=output, start_new_session=True)
            try:
                code = run.wait(SECONDS_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                code = run.wait()
        said = "\n".join(log.read_text().splitlines()[-300:])
        assert code == 0, said
        assert server.api().get("/v1/account").status_code == 200, "the token of the run was revoked by it"
        print(said)
