"""Recurrent units without connections to other units."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from rnnzoo.layers.cells.base import RecurrentCell


@keras.saving.register_keras_serializable(package="rnnzoo")
class IndRNNCell(RecurrentCell):
    """Independently recurrent network (Li et al. 2018, Building a Longer and Deeper RNN).

        h[t] = act(x[t] W + u h[t-1] + b),   u (U): one weight for each unit

    The paper keeps |u| <= 2^(1/T) for sequences of T steps; give `recurrent_constraint` for that.

    Args:
        units: U.
        activation: the paper's is relu.
        kwargs: see `RecurrentCell`; u starts uniform in [0, 1], as in the paper.

    State: h (B, U). Output: h. Cost of a step: U (D + 1) multiply-adds. Parallel form: none, but the loop has no
    matrix product.
    """

    defaults: ClassVar[dict[str, Any]] = {"recurrent_initializer": keras.initializers.RandomUniform(0.0, 1.0)}

    def __init__(self, units: int, *, activation: Any = "relu", **kwargs: Any):
        super().__init__(units, activation=activation, **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.weight("kernel", "kernel", (input_shape[-1], self.units))
        self.recurrent_kernel = self.weight("recurrent", "recurrent_kernel", (self.units,))
        self.bias = self.weight("bias", "bias", (self.units,)) if self.use_bias else None

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        (h,) = self.read(states)
        x, h = self.drop(inputs, h, training)
        h = self.activation(self.biased(ops.matmul(x, self.kernel)) + self.recurrent_kernel * h)
        return h, [h]
