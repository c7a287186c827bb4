"""Yields a text cut exactly where it is told to, as tokens would cut it."""

from cog import BasePredictor, ConcatenateIterator, Input


class Predictor(BasePredictor):
    def predict(self, chunks: str = Input(description="The text, with | at each cut")) -> ConcatenateIterator[str]:
        yield from chunks.split("|")
