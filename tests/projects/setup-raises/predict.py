"""Says what it looks for and then fails in setup, so that it never becomes ready."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        print("looking for weights", flush=True)
        raise FileNotFoundError("weights/model.bin is missing")

    def predict(self, text: str = Input(description="Never read")) -> str:
        return text
