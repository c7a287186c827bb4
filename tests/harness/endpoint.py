"""An endpoint for webhooks on this machine: keeps what it is sent, and answers as it is told."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from harness.wait import until


class Delivery(NamedTuple):
    """One request as it came in; the names of its headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def prediction(self) -> dict:
        return json.loads(self.body)


class Endpoint:
    """Listens on a free port of 127.0.0.1 for as long as it is entered."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        # What each delivery is answered with, by the path it came to.
        self.statuses: dict[str, list[int]] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.deliveries.append(Delivery(self.path, headers, body))
                waiting = receiver.statuses.get(self.path)
                self.send_response(waiting.pop(0) if waiting else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """A line a request is of no use to anyone."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def at(self, path: str) -> list[Delivery]:
        """What came to one path, in the order of arrival."""
        return [delivery for delivery in self.deliveries if delivery.path == path]

    def came(self, path: str, enough: Callable[[list[Delivery]], bool], seconds: float = 30) -> list[Delivery]:
        """What came to a path, once it is enough."""

        def enough_was_delivered() -> list[Delivery] | None:
            came = self.at(path)
            return came if came and enough(came) else None

        return until(enough_was_delivered, seconds)

    def __enter__(self) -> "Endpoint":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
