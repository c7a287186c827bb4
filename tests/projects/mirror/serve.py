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
        ended = {"status": "succeeded", "output": seen, "logs": "", "metrics": {"predict_time": 0.001}}
        events = [("start", {"status": "processing"}), ("output", {"chunk": seen, "index": 0}), ("completed", ended)]
        self.send("text/event-stream", "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events))

    def take(self) -> dict:
        return json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")

    def answer(self, document: dict) -> None:
        self.send("application/json", json.dumps(document))

    def send(self, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A line a request is of no use to anyone."""


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Mirror).serve_forever()
