"""Learns a greeting: the weights are the greeting itself."""

import tempfile
import time

from cog import BaseModel, Input, Path


class TrainingOutput(BaseModel):
    weights: Path


def train(
    greeting: str = Input(description="What the trained version will say", default="hello"),
    seconds: float = Input(description="How long to train", default=0.0, ge=0, le=3600),
) -> TrainingOutput:
    print("training", flush=True)
    finished_at = time.monotonic() + seconds
    while time.monotonic() < finished_at:
        time.sleep(0.01)
    weights = Path(tempfile.mkdtemp()) / "greeting.txt"
    weights.write_text(greeting)
    return TrainingOutput(weights=weights)
