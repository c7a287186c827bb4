"""Prints a line and fails with the message it was given."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, message: str = Input(description="The error's text", default="this model always fails")) -> str:
        print("about to fail", flush=True)
        raise ValueError(message)
