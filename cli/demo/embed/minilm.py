"""MiniLM-L6's forward pass in numpy: six layers of BERT over one text, then one vector of length 1."""

from collections.abc import Mapping

import numpy as np

LAYERS = 6
HEADS = 12
EPSILON = 1e-12

Weights = Mapping[str, np.ndarray]


def embed(weights: Weights, ids: list[int]) -> np.ndarray:
    """The mean of what the last layer says of each token, so that a dot product of two texts is their cosine."""
    states = normed(
        weights["embeddings.word_embeddings.weight"][ids]
        + weights["embeddings.position_embeddings.weight"][: len(ids)]
        + weights["embeddings.token_type_embeddings.weight"][0],
        weights,
        "embeddings.LayerNorm",
    )
    for layer in range(LAYERS):
        states = layered(states, weights, f"encoder.layer.{layer}")
    mean = states.mean(axis=0)
    return mean / np.linalg.norm(mean)


def layered(states: np.ndarray, weights: Weights, layer: str) -> np.ndarray:
    attention, output = f"{layer}.attention", f"{layer}.output"
    query, key, value = (
        linear(states, weights, f"{attention}.self.{part}").reshape(len(states), HEADS, -1).swapaxes(0, 1)
        for part in ("query", "key", "value")
    )
    attended = softmax(query @ key.swapaxes(1, 2) / np.sqrt(query.shape[-1], dtype=np.float32)) @ value
    joined = linear(attended.swapaxes(0, 1).reshape(states.shape), weights, f"{attention}.output.dense")
    states = normed(states + joined, weights, f"{attention}.output.LayerNorm")
    inner = linear(gelu(linear(states, weights, f"{layer}.intermediate.dense")), weights, f"{output}.dense")
    return normed(states + inner, weights, f"{output}.LayerNorm")


def linear(states: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return states @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def normed(states: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    centred = states - states.mean(axis=-1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + EPSILON)
    return centred / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    """x · Φ(x), the error function by Abramowitz and Stegun 7.1.26, which is within 1.5e-7."""
    z = np.abs(x) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + 0.3275911 * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.copysign(1 - series * np.exp(-z * z), x)
    return x * (1 + erf) / 2
