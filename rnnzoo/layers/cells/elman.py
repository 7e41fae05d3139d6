"""The simple recurrent network."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from rnnzoo.layers.cells.base import RecurrentCell


@keras.saving.register_keras_serializable(package="rnnzoo")
class ElmanCell(RecurrentCell):
    """The simple recurrent network (Elman 1990, Finding Structure in Time).

        h[t] = act(x[t] W + h[t-1] R + b)

    With `activation="relu"` and `recurrent_initializer="identity"` it is the IRNN (Le, Jaitly & Hinton 2015, A
    Simple Way to Initialize Recurrent Networks of Rectified Linear Units). Weights, names and results are those of
    `keras.layers.SimpleRNNCell`.

    Args:
        units: U.
        kwargs: see `RecurrentCell`.

    State: h (B, U). Output: h. Cost of a step: U (D + U) multiply-adds. Parallel form: none.
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(units, **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.weight("kernel", "kernel", (input_shape[-1], self.units))
        self.recurrent_kernel = self.weight("recurrent", "recurrent_kernel", (self.units, self.units))
        self.bias = self.weight("bias", "bias", (self.units,)) if self.use_bias else None

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        (h,) = self.read(states)
        x, h = self.drop(inputs, h, training)
        h = self.activation(self.biased(ops.matmul(x, self.kernel)) + ops.matmul(h, self.recurrent_kernel))
        return h, [h]
