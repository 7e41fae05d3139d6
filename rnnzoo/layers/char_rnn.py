"""Words from their characters, read in both directions."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from rnnzoo.layers.memoryless import Memoryless
from rnnzoo.layers.refusals import positive, refused


@keras.saving.register_keras_serializable(package="rnnzoo")
class CharRNN(Memoryless, keras.layers.Layer):
    """A word as the last states of a GRU over its characters, forward and backward.

    Ling et al. 2015, Finding Function in Form, with GRUs:

        y = [h_C of GRU(c_1 ... c_C);  h_1 of GRU(c_C ... c_1)]

    Characters whose vectors are zero (padding) are skipped; a word without characters is the zero vector.

    Args:
        char_size: width E of a character's vector.
        units: states U in each direction.

    Input: the vectors of C characters side by side (B, T, C * E). Output: (B, T, 2 * U).

    Raises:
        ValueError: a size is not positive, or the input is not a whole number of characters.
    """

    def __init__(self, char_size: int, units: int = 64, **kwargs: Any):
        super().__init__(**kwargs)
        positive(self, char_size=char_size, units=units)
        self.char_size, self.units = char_size, units
        self.ahead = keras.layers.GRU(units, name="ahead", dtype=self.dtype_policy)
        self.back = keras.layers.GRU(units, go_backwards=True, name="back", dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if (input_shape[-1] or 0) % self.char_size or not input_shape[-1]:
            raise refused(
                f"CharRNN: expected (B, T, C * {self.char_size}), the vectors of C characters side by side. "
                f"Received: input shape {tuple(input_shape)}"
            )
        for layer in (self.ahead, self.back):
            layer.build((None, input_shape[-1] // self.char_size, self.char_size))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:2], 2 * self.units)

    def compute_output_spec(self, x: Any) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(x.shape), dtype=self.compute_dtype)

    def call(self, x: Any) -> Any:
        chars, present = self._characters(x)
        # A mask would keep cuDNN away from words whose padding is not at the right: none is.
        vectors = [layer(chars, mask=present) for layer in (self.ahead, self.back)]
        return ops.reshape(ops.concatenate(vectors, axis=-1), (-1, ops.shape(x)[1], 2 * self.units))

    def _characters(self, x: Any) -> tuple[Any, Any]:
        """Vectors (words, C, E), and which of them are characters, (words, C): words are folded into the batch."""
        chars = ops.reshape(x, (-1, x.shape[2] // self.char_size, self.char_size))
        return chars, ops.max(ops.abs(chars), axis=-1) > 0

    def stream_step(self, x: Any, valid: Any, states: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        """The same with the loop over characters unrolled: a device's graph holds no loops."""
        chars, present = self._characters(x)
        count, vectors = chars.shape[1], []
        for layer, order in ((self.ahead, range(count)), (self.back, range(count - 1, -1, -1))):
            h = ops.zeros_like(ops.repeat(chars[:, 0, :1], self.units, axis=-1))
            for index in order:
                new, _ = layer.cell(chars[:, index], [h])
                h = ops.where(present[:, index : index + 1], new, h)
            vectors.append(h)
        y = ops.reshape(ops.concatenate(vectors, axis=-1), (x.shape[0], x.shape[1], 2 * self.units))
        return y, valid, states

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "char_size": self.char_size, "units": self.units}
