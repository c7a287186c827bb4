"""One `feira up` in a folder of its own: started, stopped, killed and started again by tests."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, Queue
from types import MappingProxyType

from harness.api import Api
from harness.processes import alive, descendants
from harness.wait import until

READY_SECONDS_MAX = 120
STOP_SECONDS_MAX = 60


def binary() -> Path:
    """The program under test; `tests/run` builds it and names it here."""
    return Path(os.environ["FEIRA_BIN"]).resolve()


class Server:
    """A house that tests may do anything to."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        demo: bool = False,
        prewarm: bool = False,
        listen: str = "127.0.0.1:0",
        environment: Mapping[str, str] = MappingProxyType({}),
    ):
        self.home = folder / "home"
        self.log = folder / "server.log"
        self.listen = listen
        self.environment = environment
        # Tests begin with what they publish at rest, but for those that are about its early start.
        early = [] if prewarm else ["--no-prewarm"]
        self.options = [*early, *options] if demo else ["--no-demo", *early, *options]
        self.url = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> "Server":
        command = [binary(), "up", "--json", "--home", self.home, "--listen", self.listen, *self.options]
        with self.log.open("a") as log:
            environment = {**os.environ, **self.environment}
            self.process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True
            )
        banner = json.loads(self._first_line())
        assert banner["ready"], banner
        self.url = banner["url"]
        # The next start keeps the address: clients have it.
        self.listen = self.url.removeprefix("http://")
        return self

    def _first_line(self) -> str:
        lines: Queue[str] = Queue()
        threading.Thread(target=lambda: lines.put(self.process.stdout.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=READY_SECONDS_MAX)
        except Empty:
            line = ""
        assert line, f"the server did not come up; its log ends:\n{self.log_tail()}"
        return line

    def stop(self) -> int:
        """Asks it to end as an operator would, and says how it ended."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS_MAX)

    def kill(self) -> int:
        """Ends it as a power cut would. Says how many of its model processes were still there after five seconds."""
        models = descendants(self.process.pid)
        self.process.kill()
        self.process.wait(STOP_SECONDS_MAX)
        until(lambda: not any(map(alive, models)), 5, fail=False)
        return sum(map(alive, models))

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.stop()

    @property
    def token(self) -> str:
        return (self.home / "token").read_text().strip()

    def api(self, token: str | None = None) -> Api:
        return Api(self.url, token or self.token)

    def feira(
        self, *arguments: object, token: str | None = None, check: bool = True, url: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs the command line against this server, by another address if one is named."""
        environment = {
            **os.environ,
            "FEIRA_HOST": url or self.url,
            "FEIRA_API_TOKEN": token or self.token,
            "FEIRA_HOME": str(self.home.parent / "client"),
            "XDG_CONFIG_HOME": str(self.home.parent / "config"),
        }
        done = subprocess.run([binary(), *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=600)
        assert not check or done.returncode == 0, f"feira {arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def push(self, project: Path, model: str, *options: str, token: str | None = None, url: str | None = None) -> dict:
        return json.loads(self.feira("push", "--json", *options, project, model, token=token, url=url).stdout)

    def account(self, name: str, dollars: str | None = None) -> str:
        """Makes an account, with credit if any is named, and returns a token of it."""
        self.feira("account", "create", name)
        if dollars:
            self.feira("credit", "grant", name, dollars)
        return json.loads(self.feira("token", "create", "--json", "--account", name, "--name", "tests").stdout)["token"]

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text().splitlines()[-lines:]) if self.log.exists() else ""
