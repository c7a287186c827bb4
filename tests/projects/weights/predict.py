"""Reads its weights once in setup and answers with their SHA-256."""

import hashlib
from pathlib import Path

from cog import BasePredictor

WEIGHTS = Path("weights/model.bin")


class Predictor(BasePredictor):
    def setup(self) -> None:
        with WEIGHTS.open("rb") as weights:
            self.digest = hashlib.file_digest(weights, "sha256").hexdigest()

    def predict(self) -> str:
        return self.digest
