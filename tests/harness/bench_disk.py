"""The peer of `tests/bench registry`: a server that does nothing but move bytes between a connection and a file."""

import os
import socket
from pathlib import Path

from harness.listener import Listener

PIECE_BYTES = 1024 * 1024


class DiskServer(Listener):
    """Keeps what is PUT in its folder and sends what is asked for by GET: no hash, no limits, no accounts; on the disk before it answers."""

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder

    def serve(self, client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(PIECE_BYTES)
            head, _, begun = head.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            method, path, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            file = self.folder / path.rpartition("/")[2]
            if method == "PUT":
                self._keep(client, file, begun, int(headers["content-length"]), "expect" in headers)
            else:
                self._send(client, file)

    def _keep(self, client: socket.socket, file: Path, begun: bytes, length: int, waits: bool) -> None:
        if waits:
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        buffer = memoryview(bytearray(PIECE_BYTES))
        with file.open("wb", buffering=0) as kept:
            received = kept.write(begun)
            while received < length:
                count = client.recv_into(buffer)
                if not count:
                    return
                received += kept.write(buffer[:count])
            os.fsync(kept)
        client.sendall(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    def _send(self, client: socket.socket, file: Path) -> None:
        with file.open("rb") as kept:
            length = os.fstat(kept.fileno()).st_size
            client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % length)
            client.sendfile(kept)
