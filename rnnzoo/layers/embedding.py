"""Ids as vectors; padding is the zero vector."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from rnnzoo.layers.memoryless import Memoryless
from rnnzoo.layers.refusals import positive, probability


@keras.saving.register_keras_serializable(package="rnnzoo")
class PaddedEmbedding(Memoryless, keras.layers.Embedding):
    """An embedding whose id 0 (padding) is the zero vector, so that padding equals the absence of a step.

    Several ids in a step are embedded by one table, and their vectors are concatenated. It is a Keras embedding, so
    that code that inspects a model can find the range of the ids of an input.

    Args:
        input_dim: number of ids, padding included.
        output_dim: width E of a vector.
        unknown_rate: in training, the probability that an id becomes `unknown`, so that the model learns to do
            without it (word dropout); padding stays.
        unknown: the id of unknown entries.
        seed: of these random numbers.

    Input: ids (B, T) or (B, T, A). Output: (B, T, E) or (B, T, A * E).

    Raises:
        ValueError: a size is not positive, or the rate is no probability below 1.
    """

    sequence_shape = "(B, T)"

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        unknown_rate: float = 0.0,
        unknown: int = 1,
        seed: int | None = None,
        **kwargs: Any,
    ):
        positive(self, input_dim=input_dim, output_dim=output_dim)
        probability(self, unknown_rate=unknown_rate)
        super().__init__(input_dim, output_dim, **kwargs)
        self.unknown_rate, self.unknown, self.seed = unknown_rate, unknown, seed
        self._random = keras.random.SeedGenerator(seed)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        width = self.output_dim * (input_shape[2] or 1) if len(input_shape) == 3 else self.output_dim
        return (*input_shape[:2], width)

    def compute_output_spec(self, ids: Any, training: bool | None = None) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(ids.shape), dtype=self.compute_dtype)

    def call(self, ids: Any, training: bool | None = None) -> Any:
        if training and self.unknown_rate:
            drawn = keras.random.uniform(ops.shape(ids), seed=self._random)
            hidden = ops.logical_and(drawn < self.unknown_rate, ops.not_equal(ids, 0))
            ids = ops.where(hidden, ops.full_like(ids, self.unknown), ids)
        vectors = ops.take(self.embeddings, ids, axis=0)
        vectors = vectors * ops.expand_dims(ops.cast(ops.not_equal(ids, 0), vectors.dtype), -1)
        if len(ids.shape) == 2:
            return vectors
        return ops.reshape(vectors, (-1, ops.shape(ids)[1], ids.shape[2] * self.output_dim))

    def get_config(self) -> dict[str, Any]:
        own = {"unknown_rate": self.unknown_rate, "unknown": self.unknown, "seed": self.seed}
        return {**super().get_config(), **own}
