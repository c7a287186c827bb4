"""An honest model with a secret: in its memory, its scratch directory, its shared memory, and behind a port of its own."""

import socket
import threading
from pathlib import Path

from cog import BasePredictor, Input

PORT = 47001


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.port = socket.create_server(("127.0.0.1", PORT))
        self.secret = b""
        threading.Thread(target=self.answer, daemon=True).start()

    def answer(self) -> None:
        while True:
            caller, _ = self.port.accept()
            with caller:
                caller.sendall(self.secret)

    def predict(
        self,
        secret: str = Input(description="What nobody else is to know"),
        marker: str = Input(description="The name of the file that holds it"),
    ) -> str:
        self.secret = secret.encode()
        for folder in ("/tmp", "/dev/shm"):
            Path(folder, marker).write_text(secret)
        print("keeps it", flush=True)
        # Until it is cancelled.
        threading.Event().wait()
        return ""
