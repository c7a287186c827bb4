"""An OpenAI-compatible server that repeats the conversation: each turn as role and words, a word a token, as slowly as it is told."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        self.answer(200 if self.path == "/health" else 404, {})

    def chunk(self, data):
        content = b"data: " + data + b"\n\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        turns = asked["messages"]
        last = turns[-1]["content"]
        if last == "too long":
            return self.answer(400, {"error": {"message": "the context window is exceeded"}})
        if last == "break":
            return self.answer(500, {"error": {"message": "out of order"}})
        words = " / ".join(f"{turn['role']}: {turn['content']}" for turn in turns).split(" ")
        most = asked["max_tokens"]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for n, word in enumerate(words[:most]):
                choice = {"index": 0, "delta": {"content": word if n == 0 else " " + word}}
                self.chunk(json.dumps({"choices": [choice]}).encode())
                time.sleep(asked["delay"])
            if last.endswith("and break"):
                return self.chunk(json.dumps({"error": {"message": "out of order"}}).encode())
            reason = "length" if len(words) > most else "stop"
            self.chunk(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}).encode())
            usage = {"prompt_tokens": 5, "completion_tokens": min(len(words), most)}
            self.chunk(json.dumps({"choices": [], "usage": usage}).encode())
            self.chunk(b"[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except BrokenPipeError:
            pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
