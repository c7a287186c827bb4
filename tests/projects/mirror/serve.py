"""Speaks Cog's HTTP contract on 127.0.0.1:$PORT and answers with the JSON text of the input that it was sent."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Mirror(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer({"status": "READY", "setup": {"status": "succeeded", "logs": ""}})

    def do_POST(self) -> None:
        self.take()
        self.answer({})

    def do_PUT(self) -> None:
        seen = json.dumps(self.take()["input"], sort_keys=True)
        self.answer({"status": "succeeded", "output": seen, "logs": "", "metrics": {"predict_time": 0.001}})

    def take(self) -> dict:
        return json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")

    def answer(self, document: dict) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A line a request is of no use to anyone."""


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Mirror).serve_forever()
