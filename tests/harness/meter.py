"""A line between a client and a server that counts what goes up it, and that can be cut off in the middle."""

import socket
import threading
from urllib.parse import urlsplit

from harness.listener import Listener

PIECE_BYTES = 64 * 1024


class Meter(Listener):
    """Forwards connections to a server. With `enough`, nothing more goes up once so many bytes have, and `stalled` is set."""

    def __init__(self, url: str, enough: int | None = None):
        super().__init__()
        self.target = (urlsplit(url).hostname, urlsplit(url).port)
        self.enough = enough
        self.up = 0
        self.stalled = threading.Event()
        self._lock = threading.Lock()

    def serve(self, client: socket.socket) -> None:
        server = socket.create_connection(self.target)
        for source, sink, is_up in ((client, server, True), (server, client, False)):
            threading.Thread(target=self._forward, args=(source, sink, is_up), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, is_up: bool) -> None:
        try:
            while piece := source.recv(PIECE_BYTES):
                if is_up and not self._count(len(piece)):
                    # Read on, so that the end of the client is noticed, and pass nothing on.
                    continue
                sink.sendall(piece)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _count(self, length: int) -> bool:
        """Whether this much may still go up."""
        with self._lock:
            if self.enough is not None and self.up >= self.enough:
                self.stalled.set()
                return False
            self.up += length
            return True
