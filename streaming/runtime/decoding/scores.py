"""Probabilities from logits, and hypotheses of searches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Hypothesis:
    """Tokens after the start token, without the end token; `log_probability` includes a final end token."""

    tokens: tuple[int, ...]
    log_probability: float
    ended: bool

    def score(self, length_penalty: float) -> float:
        """Log probability over ((5 + length) / 6) ** length_penalty (Wu et al. 2016, GNMT)."""
        return self.log_probability / ((5 + len(self.tokens) + self.ended) / 6) ** length_penalty


def log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Log probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Probabilities along the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True)) if logits.size else logits
    return exponents / exponents.sum(axis=-1, keepdims=True)


def sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    """Probabilities, each by itself."""
    # exp of what is not positive never overflows.
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, small) / (1.0 + small)
