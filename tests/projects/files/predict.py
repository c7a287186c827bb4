"""Takes a file and returns it with its bytes reversed."""

import tempfile

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def predict(self, file: Path = Input(description="Any file")) -> Path:
        reversed_file = Path(tempfile.mkdtemp()) / f"reversed{file.suffix}"
        reversed_file.write_bytes(file.read_bytes()[::-1])
        return reversed_file
