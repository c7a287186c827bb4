"""Prints far more log lines than anyone should keep."""

from cog import BasePredictor, Input

LINE = "x" * 1023


class Predictor(BasePredictor):
    def predict(
        self,
        kibibytes: int = Input(description="How much to print, a kibibyte a line", default=102_400, ge=0, le=1_048_576),
    ) -> int:
        for _ in range(kibibytes):
            print(LINE)
        return kibibytes
