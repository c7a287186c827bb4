"""Yields a text word by word, so that a reader sees output while the prediction runs."""

import time

from cog import BasePredictor, ConcatenateIterator, Input


class Predictor(BasePredictor):
    def predict(
        self,
        text: str = Input(description="Words to yield, one chunk each", default="the quick brown fox"),
        delay: float = Input(description="Seconds before each word", default=0.0, ge=0, le=60),
    ) -> ConcatenateIterator[str]:
        for index, word in enumerate(text.split()):
            time.sleep(delay)
            yield f" {word}" if index else word
