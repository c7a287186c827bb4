"""Speaks Cog's contract and misbehaves as its input says: refuses, dies, hangs, floods, loses events."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

refused = {}
dead = False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def body(self):
        return json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")

    def do_GET(self):
        self.answer(200, {"status": "UNHEALTHY" if dead else "READY", "setup": {"status": "succeeded"}})

    def do_POST(self):
        self.body()
        self.answer(200, {})

    def event(self, name, data):
        content = f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def do_PUT(self):
        global dead
        given = self.body()["input"]
        if given == 0:
            return self.joined_again()
        if dead or refused.setdefault(self.path, 0) < given.get("conflicts", 0):
            refused[self.path] = refused.get(self.path, 0) + 1
            return self.answer(409, {"error": "At capacity - all prediction slots busy", "status": "failed"})
        if given.get("die_first") and not os.path.exists("/tmp/died"):
            dead = True
            return self.answer(409, {"error": "At capacity - all prediction slots busy", "status": "failed"})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.event("start", {"status": "processing"})
        do = given.get("do", "echo")
        if do == "exit":
            os._exit(11)
        if do == "hang":
            time.sleep(3600)
        if do == "huge":
            for _ in range(70):
                self.event("output", {"chunk": "x" * (1 << 20)})
        if do == "long line":
            self.event("log", {"data": "y" * (4 << 20), "source": "stdout"})
            self.event("log", {"data": "after\n", "source": "stdout"})
        if do == "lag":
            self.event("output", {"chunk": "a", "index": 0})
            self.event("error", {"error": "SSE stream lagged; events were dropped", "skipped": 2})
            return self.end()
        for n in range(given.get("metrics", 0)):
            self.event("metric", {"mode": "increment", "name": "tokens", "value": 1})
        self.event("output", {"chunk": "done", "index": 0})
        self.event("completed", {"logs": "z" * given.get("repeats", 0), "output": "done", "status": "succeeded"})
        self.end()

    def joined_again(self):
        """The middle was missed: chunk 1 never came, chunk 2 does, and the end has them all."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.event("output", {"chunk": "c", "index": 2})
        self.event("completed", {"logs": "", "output": ["a", "b", "c"], "status": "succeeded"})
        self.end()

    def end(self):
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
