"""Gated recurrent units."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from rnnzoo.layers.cells.base import RecurrentCell


@keras.saving.register_keras_serializable(package="rnnzoo")
class GRUCell(RecurrentCell):
    """The gated recurrent unit (Cho et al. 2014), in both conventions of its reset gate.

        z = gate(x[t] W_z + h[t-1] R_z + b_z)                update gate: share of the old state
        r = gate(x[t] W_r + h[t-1] R_r + b_r)                reset gate
        g = act(x[t] W_g + b_g + r (h[t-1] R_g + d_g))       reset_after=True (cuDNN's; v3 of the paper)
        g = act(x[t] W_g + b_g + (r h[t-1]) R_g)             reset_after=False (the paper's v1)
        h[t] = z h[t-1] + (1 - z) g

    Weights lie in the order z, r, g; names, shapes (bias (2, 3 U) with reset_after: of inputs, and of the state) and
    results are those of `keras.layers.GRUCell`.

    Args:
        units: U.
        recurrent_activation: gate.
        reset_after: reset after the product with R_g, or before it.
        kwargs: see `RecurrentCell`.

    State: h (B, U). Output: h. Cost of a step: 3 U (D + U) multiply-adds. Parallel form: none.
    """

    options: ClassVar[tuple[str, ...]] = ("recurrent_activation", "reset_after")

    def __init__(self, units: int, *, recurrent_activation: Any = "sigmoid", reset_after: bool = True, **kwargs: Any):
        super().__init__(units, **kwargs)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.reset_after = reset_after

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width = 3 * self.units
        self.kernel = self.weight("kernel", "kernel", (input_shape[-1], width))
        self.recurrent_kernel = self.weight("recurrent", "recurrent_kernel", (self.units, width))
        shape = (2, width) if self.reset_after else (width,)
        self.bias = self.weight("bias", "bias", shape) if self.use_bias else None

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        (last,) = self.read(states)
        x, h = self.drop(inputs, last, training)
        bias, state_bias = self._biases()
        gate, units = self.recurrent_activation, self.units
        x_z, x_r, x_g = ops.split(add(ops.matmul(x, self.kernel), bias), 3, axis=-1)
        if self.reset_after:
            h_z, h_r, h_g = ops.split(add(ops.matmul(h, self.recurrent_kernel), state_bias), 3, axis=-1)
            z, r = gate(x_z + h_z), gate(x_r + h_r)
            g = self.activation(x_g + r * h_g)
        else:
            h_z, h_r = ops.split(ops.matmul(h, self.recurrent_kernel[:, : 2 * units]), 2, axis=-1)
            z, r = gate(x_z + h_z), gate(x_r + h_r)
            g = self.activation(x_g + ops.matmul(r * h, self.recurrent_kernel[:, 2 * units :]))
        h = z * last + (1 - z) * g
        return h, [h]

    def _biases(self) -> tuple[Any, Any]:
        if self.bias is None or not self.reset_after:
            return self.bias, None
        return self.bias[0], self.bias[1]


def add(x: Any, bias: Any) -> Any:
    """x + bias, where there is one."""
    return x if bias is None else x + bias
