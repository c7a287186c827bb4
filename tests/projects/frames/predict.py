"""Yields files, one after the other."""

import tempfile
from collections.abc import Iterator

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def predict(self, count: int = Input(description="How many files", default=3, ge=1, le=100)) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp())
        for number in range(count):
            frame = folder / f"frame-{number}.txt"
            frame.write_text(f"frame {number}")
            yield frame
