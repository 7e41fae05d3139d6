"""Pooling of a sequence to one vector."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from rnnzoo.layers.precision import widened
from rnnzoo.layers.refusals import OverSequences, positive

# Scores beyond this overflow exp in float32; a weight of e^-60 is nothing.
LARGEST = 30.0


@keras.saving.register_keras_serializable(package="rnnzoo")
class AttentionPooling(OverSequences, keras.layers.Layer):
    """The mean of a sequence under learned weights (Yang et al. 2016, Hierarchical Attention Networks).

        e[t] = v . tanh(W x[t] + b);   y = sum_t exp(e[t]) x[t] / sum_t exp(e[t])

    e is clipped to -30 .. 30, so that a stream can update the sums at each step: in a stream, the pool is over all
    steps so far.

    Args:
        units: size of the hidden layer of the scores.

    Input: (B, T, D) and a mask (B, T). Output: (B, D); zeros where all is hidden.

    Raises:
        ValueError: units below 1.
    """

    def __init__(self, units: int = 64, **kwargs: Any):
        super().__init__(**kwargs)
        positive(self, units=units)
        self.units = units
        self.hidden = keras.layers.Dense(units, activation="tanh", name="hidden", dtype=self.dtype_policy)
        self.score = keras.layers.Dense(1, use_bias=False, name="score", dtype=self.dtype_policy)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.hidden.build(input_shape)
        self.score.build((*input_shape[:-1], self.units))

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        return None

    def call(self, x: Any, mask: Any = None) -> Any:
        scores = widened(self.score(self.hidden(x)))
        weights = ops.exp(ops.minimum(ops.maximum(scores, -LARGEST), LARGEST))
        if mask is not None:
            weights = weights * ops.cast(mask, weights.dtype)[:, :, None]
        total = ops.sum(weights, axis=1)
        pooled = ops.sum(weights * widened(x), axis=1) / ops.maximum(total, 1e-30)
        return ops.cast(pooled, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}
