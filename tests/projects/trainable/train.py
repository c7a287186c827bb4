"""Learns how often each letter follows another, from a text file."""

import json
import tempfile
import time
from collections import Counter, defaultdict

from cog import BaseModel, Input, Path, current_scope


class TrainingOutput(BaseModel):
    weights: Path


def train(
    text: Path = Input(description="What to learn from"),
    epochs: int = Input(description="How often to read it", default=1, ge=1, le=1_000),
    pause: float = Input(description="Seconds between two readings", default=0.0, ge=0, le=60),
) -> TrainingOutput:
    letters = text.read_text()
    followers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for epoch in range(1, epochs + 1):
        for first, second in zip(letters, letters[1:]):
            followers[first][second] += 1
        print(f"epoch {epoch} of {epochs}: {len(followers)} letters", flush=True)
        current_scope().record_metric("epochs", epoch)
        time.sleep(pause)
    weights = Path(tempfile.mkdtemp()) / "weights.json"
    weights.write_text(json.dumps(followers))
    return TrainingOutput(weights=weights)
