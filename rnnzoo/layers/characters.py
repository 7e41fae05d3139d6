"""Words from their characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from rnnzoo.layers.memoryless import Memoryless
from rnnzoo.layers.refusals import positive, refused


@keras.saving.register_keras_serializable(package="rnnzoo")
class CharCNN(Memoryless, keras.layers.Layer):
    """A word as the largest answer of each filter over its characters (Santos & Zadrozny 2014).

        y = relu(max over positions of conv_k(x) - threshold_k),   threshold >= 0, widths k side by side

    A threshold in place of a bias: padded characters and padded words are zero vectors, and stay so.

    Args:
        char_size: width E of a character's vector.
        filters: filters of each width.
        widths: widths of the convolutions, in characters.

    Input: the vectors of C characters side by side (B, T, C * E). Output: (B, T, filters * len(widths)).

    Raises:
        ValueError: a size is not positive, there is no width, or the input is not a whole number of characters.
    """

    def __init__(self, char_size: int, filters: int = 64, widths: Sequence[int] = (3,), **kwargs: Any):
        super().__init__(**kwargs)
        positive(self, char_size=char_size, filters=filters)
        if not widths:
            raise refused("CharCNN: expected at least one width. Received: widths=()")
        for width in widths:
            positive(self, width=width)
        self.char_size, self.filters, self.widths = char_size, filters, tuple(widths)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if (input_shape[-1] or 0) % self.char_size:
            raise refused(
                f"CharCNN: expected (B, T, C * {self.char_size}), the vectors of C characters side by side. "
                f"Received: input shape {tuple(input_shape)}"
            )
        self.kernels = [self.add_weight((k, self.char_size, self.filters), name=f"kernel_{k}") for k in self.widths]
        self.thresholds = self.add_weight(
            (self.filters * len(self.widths),), name="thresholds", initializer="zeros", constraint="non_neg"
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:2], self.filters * len(self.widths))

    def compute_output_spec(self, x: Any) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(x.shape), dtype=self.compute_dtype)

    def call(self, x: Any) -> Any:
        # Words are folded into the batch: the convolution runs over characters only.
        chars = ops.reshape(x, (-1, x.shape[2] // self.char_size, self.char_size))
        maxima = [ops.max(ops.conv(chars, kernel, padding="same"), axis=1) for kernel in self.kernels]
        y = ops.relu(ops.concatenate(maxima, axis=-1) - self.thresholds)
        return ops.reshape(y, (-1, ops.shape(x)[1], self.filters * len(self.widths)))

    def get_config(self) -> dict[str, Any]:
        own = {"char_size": self.char_size, "filters": self.filters, "widths": self.widths}
        return {**super().get_config(), **own}
