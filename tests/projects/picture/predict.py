"""Paints a small picture of one colour, which the prompt decides; too small to be worth a file of its own."""

import struct
import tempfile
import zlib

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def predict(
        self,
        prompt: str = Input(description="Decides the colour"),
        side: int = Input(description="Width and height in pixels", default=16, ge=1, le=1024),
    ) -> Path:
        colour = zlib.crc32(prompt.encode()).to_bytes(4, "big")[:3]
        rows = (b"\0" + colour * side) * side
        painted = Path(tempfile.mkdtemp()) / "picture.png"
        painted.write_bytes(png(side, rows))
        return painted


def png(side: int, rows: bytes) -> bytes:
    """See https://www.w3.org/TR/png-3/: a header, the compressed rows, an end."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
