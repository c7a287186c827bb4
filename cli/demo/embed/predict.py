"""Turns each text into 384 numbers: texts that mean alike point alike."""

import json
from pathlib import Path

from cog import BasePredictor, Input
from safetensors.numpy import load_file
from threadpoolctl import threadpool_limits

from minilm import embed
from wordpiece import WordPiece

WEIGHTS = Path("weights")
TOKENS_MAX = 256
TEXTS_MAX = 256


class Predictor(BasePredictor):
    def setup(self) -> None:
        # A sentence is too little work to share: a second thread costs more than it saves.
        threadpool_limits(limits=1)
        self.tokenizer = WordPiece(WEIGHTS / "vocab.txt")
        self.weights = load_file(WEIGHTS / "model.safetensors")

    def predict(
        self,
        text: str = Input(description="The text to embed", default=""),
        text_batch: str = Input(description='Several texts, as a JSON list of strings: ["one", "two"]', default=""),
    ) -> list[list[float]]:
        texts = batch(text_batch) if text_batch else [text]
        return [embed(self.weights, self.tokenizer.encode(text, TOKENS_MAX)).tolist() for text in texts]


def batch(text_batch: str) -> list[str]:
    try:
        texts = json.loads(text_batch)
    except json.JSONDecodeError:
        texts = None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("text_batch must be a JSON list of strings")
    if len(texts) > TEXTS_MAX:
        raise ValueError(f"text_batch may hold {TEXTS_MAX} texts, not {len(texts)}")
    return texts
