"""An OpenAI-compatible server that repeats what it is asked, a word a token, slowly if the text says so."""

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
        if self.path == "/v1/embeddings":
            texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
            vectors = [{"embedding": [len(text), 0.5]} for text in texts]
            return self.answer(200, {"data": vectors, "usage": {"prompt_tokens": 3}})
        assert asked["stream"] and asked["stream_options"] == {"include_usage": True}
        if asked.get("temperature", 0) > 2:
            return self.answer(400, {"error": {"message": "temperature must be at most 2", "type": "invalid_request_error"}})
        chat = self.path == "/v1/chat/completions"
        words = (asked["messages"][-1]["content"] if chat else asked["prompt"]).split(" ")
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for n, word in enumerate(words):
                text = word if n == 0 else " " + word
                choice = {"index": 0, "delta": {"content": text}} if chat else {"index": 0, "text": text}
                self.chunk(json.dumps({"choices": [choice], "usage": None}).encode())
                time.sleep(1 if "slowly" in words else 0)
            self.chunk(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).encode())
            self.chunk(json.dumps({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": len(words)}}).encode())
            self.chunk(b"[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except BrokenPipeError:
            pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
