"""Says what its weights say, and `untrained` when it has none."""

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def setup(self, weights: Path | None = None) -> None:
        self.greeting = weights.read_text() if weights else "untrained"

    def predict(self, name: str = Input(description="Whom to greet", default="world")) -> str:
        return f"{self.greeting} {name}"
