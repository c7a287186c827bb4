"""Says how many bytes a file has, and their SHA-256."""

import hashlib

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def predict(self, file: Path = Input(description="Any file")) -> str:
        content = file.read_bytes()
        return f"{len(content)} {hashlib.sha256(content).hexdigest()}"
