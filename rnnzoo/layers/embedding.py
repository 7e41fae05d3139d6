"""Words, their parts and their characters as vectors; padding is the zero vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class _Memoryless(keras.layers.Layer):
    """A layer that treats each step by itself: its stream is the layer."""

    def stream_spec(self, input_shape: tuple[int | None, ...]) -> dict[str, Any]:
        """No state, no delay."""
        return {"states": {}, "delay": 0, "rate": 1}

    def stream_step(self, x: Any, valid: Any, states: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        """The layer itself on a chunk."""
        return self(x), valid, states


@keras.saving.register_keras_serializable(package="rnnzoo")
class PaddedEmbedding(_Memoryless):
    """An embedding whose id 0 (padding) is the zero vector, so that padding equals the absence of a step.

    Several ids a step are embedded from one table and laid side by side.

    Args:
        input_dim: number of ids, padding included.
        output_dim: width E of a vector.

    Input: ids (B, T) or (B, T, A). Output: (B, T, E) or (B, T, A * E).
    """

    def __init__(self, input_dim: int, output_dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        if input_dim < 1 or output_dim < 1:
            raise ValueError(
                "PaddedEmbedding: expected input_dim >= 1 and output_dim >= 1. "
                f"Received: input_dim={input_dim}, output_dim={output_dim}"
            )
        self.input_dim, self.output_dim = input_dim, output_dim

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.embeddings = self.add_weight(
            name="embeddings", shape=(self.input_dim, self.output_dim), initializer="uniform"
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        width = self.output_dim * (input_shape[2] or 1) if len(input_shape) == 3 else self.output_dim
        return (*input_shape[:2], width)

    def compute_output_spec(self, ids: Any) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(ids.shape), dtype=self.compute_dtype)

    def call(self, ids: Any) -> Any:
        vectors = ops.take(self.embeddings, ids, axis=0)
        vectors = vectors * ops.expand_dims(ops.cast(ops.not_equal(ids, 0), vectors.dtype), -1)
        if len(ids.shape) == 2:
            return vectors
        return ops.reshape(vectors, (-1, ops.shape(ids)[1], ids.shape[2] * self.output_dim))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "input_dim": self.input_dim, "output_dim": self.output_dim}


@keras.saving.register_keras_serializable(package="rnnzoo")
class CharCNN(_Memoryless):
    """A word as the largest answer of each filter over its characters (Santos & Zadrozny 2014).

        y = max over positions of relu(conv_k(embed(characters))), widths k side by side; padding gives zeros

    Args:
        input_dim: number of character ids, padding (0) included.
        char_size: width E of a character's vector.
        filters: filters of each width.
        widths: widths of the convolutions, in characters.
        dropout: rate on the characters' vectors, in training.

    Input: ids (B, T, C). Output: (B, T, filters * len(widths)).
    """

    def __init__(
        self,
        input_dim: int,
        char_size: int = 32,
        filters: int = 64,
        widths: Sequence[int] = (3,),
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if min(input_dim, char_size, filters, *widths) < 1 or not widths:
            raise ValueError(
                "CharCNN: expected positive sizes and at least one width. Received: "
                f"input_dim={input_dim}, char_size={char_size}, filters={filters}, widths={tuple(widths)}"
            )
        self.input_dim, self.char_size, self.filters = input_dim, char_size, filters
        self.widths, self.dropout = tuple(widths), dropout
        self._drop = keras.layers.Dropout(dropout)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.embeddings = self.add_weight(
            name="embeddings", shape=(self.input_dim, self.char_size), initializer="uniform"
        )
        self.kernels, self.biases = [], []
        for k in self.widths:
            shape = (k, self.char_size, self.filters)
            self.kernels.append(self.add_weight(shape, name=f"kernel_{k}", initializer="glorot_uniform"))
            self.biases.append(self.add_weight(shape[-1:], name=f"bias_{k}", initializer="zeros"))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:2], self.filters * len(self.widths))

    def compute_output_spec(self, ids: Any, training: bool | None = None) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(ids.shape), dtype=self.compute_dtype)

    def call(self, ids: Any, training: bool | None = None) -> Any:
        steps, size = ops.shape(ids)[1], ids.shape[2]
        # Words are folded into the batch: the convolution runs over characters only.
        flat = ops.reshape(ids, (-1, size))
        real = ops.cast(ops.not_equal(flat, 0), self.compute_dtype)
        x = ops.take(self.embeddings, flat, axis=0) * ops.expand_dims(real, -1)
        x = self._drop(x, training=training)
        found = [
            ops.relu(ops.max(ops.conv(x, kernel, padding="same"), axis=1) + bias)
            for kernel, bias in zip(self.kernels, self.biases, strict=True)
        ]
        y = ops.concatenate(found, axis=-1) * ops.max(real, axis=1, keepdims=True)
        return ops.reshape(y, (-1, steps, self.filters * len(self.widths)))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "char_size": self.char_size,
            "filters": self.filters,
            "widths": self.widths,
            "dropout": self.dropout,
        }


@keras.saving.register_keras_serializable(package="rnnzoo")
class WordDropout(_Memoryless):
    """Makes known ids the unknown id at random in training, so that the model learns to do without them.

    Args:
        rate: probability for each id; 0 (padding) stays.
        unknown: the id of what is unknown.
        seed: of the random numbers.

    Input and output: ids of any shape.
    """

    def __init__(self, rate: float, unknown: int = 1, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"WordDropout: expected 0 <= rate < 1. Received: rate={rate}")
        self.rate, self.unknown, self.seed = rate, unknown, seed
        self._random = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        pass

    def compute_output_spec(self, ids: Any, training: bool | None = None) -> keras.KerasTensor:
        return keras.KerasTensor(ids.shape, dtype=ids.dtype)

    def call(self, ids: Any, training: bool | None = None) -> Any:
        if not training or self.rate == 0:
            return ids
        drawn = keras.random.uniform(ops.shape(ids), seed=self._random)
        dropped = ops.logical_and(drawn < self.rate, ops.not_equal(ids, 0))
        return ops.where(dropped, ops.full_like(ids, self.unknown), ids)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "unknown": self.unknown, "seed": self.seed}
