"""Answers with the prompt it was given, as a language model would be called."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        prompt: str = Input(description="What to say"),
        system_prompt: str = Input(description="How to say it", default=""),
    ) -> str:
        return prompt
