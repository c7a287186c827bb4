"""Answers with the text it was given."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, text: str = Input(description="What to say back")) -> str:
        return text
