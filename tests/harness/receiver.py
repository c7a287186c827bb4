"""A receiver of webhooks on this machine: keeps what it is sent, and answers as a test tells it to."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from harness.wait import until


class Call(NamedTuple):
    path: str
    headers: dict[str, str]
    body: str

    @property
    def prediction(self) -> dict:
        return json.loads(self.body)


class Receiver:
    """Answers every call with `status()`; a location makes redirects of them. `gate` holds answers back while it is clear."""

    def __init__(self, status: Callable[[], int] = lambda: 200, location: str | None = None):
        self.calls: list[Call] = []
        self.gate = threading.Event()
        self.gate.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                receiver.calls.append(Call(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                receiver.gate.wait(60)
                self.send_response(status())
                if location:
                    self.send_header("location", location)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def __enter__(self) -> "Receiver":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def came(self, path: str, enough: Callable[[list[Call]], bool], seconds: float = 30) -> list[Call]:
        """The calls of one path below the receiver's own, once they are enough."""

        def enough_has_come() -> list[Call] | None:
            came = self.at(path)
            return came if came and enough(came) else None

        return until(enough_has_come, seconds)

    def at(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == f"/hook{path}"]

    def received(self, count: int, seconds: float = 30) -> list[Call]:
        """The calls, once there are so many."""

        def enough_calls_have_come() -> bool:
            return len(self.calls) >= count

        until(enough_calls_have_come, seconds)
        return list(self.calls)
