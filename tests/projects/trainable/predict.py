"""Says which letter most often follows another: in the text it was trained on, or else in the alphabet."""

import json
import string

from cog import BasePredictor, Input, Path

ALPHABET = dict(zip(string.ascii_lowercase, string.ascii_lowercase[1:]))


class Predictor(BasePredictor):
    def setup(self, weights: Path | None = None) -> None:
        followers = json.loads(weights.read_text()) if weights else {}
        self.next = ALPHABET | {letter: max(after, key=after.get) for letter, after in followers.items()}

    def predict(self, letter: str = Input(description="The letter before", min_length=1, max_length=1)) -> str:
        return self.next.get(letter, "?")
