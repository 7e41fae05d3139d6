"""Cells for small devices, with a weighted residual connection through time (Kusupati et al. 2018)."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from rnnzoo.layers.cells.base import RecurrentCell


class _Residual(RecurrentCell):
    """W, R, and two scalars between 0 and 1."""

    scalars: tuple[tuple[str, float], ...]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.weight("kernel", "kernel", (input_shape[-1], self.units))
        self.recurrent_kernel = self.weight("recurrent", "recurrent_kernel", (self.units, self.units))
        for name, start in self.scalars:
            setattr(self, name, self.add_weight(name=name, shape=(), initializer=keras.initializers.Constant(start)))


@keras.saving.register_keras_serializable(package="rnnzoo")
class FastRNNCell(_Residual):
    """FastRNN (Kusupati et al. 2018, FastGRNN: A Fast, Accurate, Stable and Tiny Kilobyte Sized Gated RNN).

        g = act(x[t] W + h[t-1] R + b)
        h[t] = s(alpha) g + s(beta) h[t-1],   s = sigmoid, scalars alpha and beta start at -3 and 3

    Args:
        units: U.
        kwargs: see `RecurrentCell`.

    State: h (B, U). Output: h. Cost of a step: U (D + U) multiply-adds. Parallel form: none.
    """

    scalars = (("alpha", -3.0), ("beta", 3.0))

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(units, **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.bias = self.weight("bias", "bias", (self.units,)) if self.use_bias else None

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        (last,) = self.read(states)
        x, h = self.drop(inputs, last, training)
        g = self.activation(self.biased(ops.matmul(x, self.kernel)) + ops.matmul(h, self.recurrent_kernel))
        h = ops.sigmoid(self.alpha) * g + ops.sigmoid(self.beta) * last
        return h, [h]


@keras.saving.register_keras_serializable(package="rnnzoo")
class FastGRNNCell(_Residual):
    """FastGRNN (Kusupati et al. 2018): gate and candidate share their matrices.

        pre = x[t] W + h[t-1] R
        z = gate(pre + b_z),   g = act(pre + b_g)
        h[t] = (s(zeta) (1 - z) + s(nu)) g + z h[t-1],   s = sigmoid, scalars zeta and nu start at 1 and -4

    Weights: `kernel`, `recurrent_kernel`, `bias` (2 U) in the order z, g, `zeta`, `nu`. The paper's low rank and
    sparsity are matters of constraints and of training.

    Args:
        units: U.
        recurrent_activation: gate.
        kwargs: see `RecurrentCell`.

    State: h (B, U). Output: h. Cost of a step: U (D + U) multiply-adds. Parallel form: none.
    """

    options: ClassVar[tuple[str, ...]] = ("recurrent_activation",)
    scalars = (("zeta", 1.0), ("nu", -4.0))

    def __init__(self, units: int, *, recurrent_activation: Any = "sigmoid", **kwargs: Any):
        super().__init__(units, **kwargs)
        self.recurrent_activation = keras.activations.get(recurrent_activation)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.bias = self.weight("bias", "bias", (2 * self.units,)) if self.use_bias else None

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        (last,) = self.read(states)
        x, h = self.drop(inputs, last, training)
        pre = ops.matmul(x, self.kernel) + ops.matmul(h, self.recurrent_kernel)
        b_z, b_g = (0, 0) if self.bias is None else ops.split(self.bias, 2)
        z, g = self.recurrent_activation(pre + b_z), self.activation(pre + b_g)
        h = (ops.sigmoid(self.zeta) * (1 - z) + ops.sigmoid(self.nu)) * g + z * last
        return h, [h]
