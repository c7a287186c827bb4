"""Tries what it is told to try against all that stands around it, and tells what came of it."""

import json

from cog import BasePredictor, Input

from attempts import attempt


class Predictor(BasePredictor):
    def predict(
        self,
        name: str = Input(description="Which attempt"),
        facts: str = Input(description="What it knows of the machine, as JSON"),
    ) -> str:
        return json.dumps(attempt(name, json.loads(facts)))
