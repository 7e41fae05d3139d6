"""Simple recurrent units: gates over a state without a recurrent matrix."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import keras
from keras import ops

from rnnzoo.layers.linear.base import DiagonalCell, ScanRNN


@keras.saving.register_keras_serializable(package="rnnzoo")
class SRUCell(DiagonalCell):
    """Simple recurrent unit (Lei et al. 2018, Simple Recurrent Units for Highly Parallelizable Recurrence).

        f = sigmoid(x[t] W_f + v_f c[t-1] + b_f),   r = sigmoid(x[t] W_r + v_r c[t-1] + b_r)
        c[t] = f c[t-1] + (1 - f) (x[t] W)
        h[t] = r c[t] + (1 - r) alpha x[t],   alpha = sqrt(1 + 2 exp(highway_bias))

    Args:
        units: U.
        peepholes: v_f and v_r, weight `peephole` (2, U). Without them, as in the paper's first version, the gates
            read the input alone and all steps of a sequence are computed at once.
        highway_bias: where b_r starts; alpha keeps the size of the input that passes by.
        kwargs: see `LinearCell`. Columns of the weights lie in the order candidate, f, r; where D is not U, they end
            with a matrix (D, U) that brings x to the width of the state.

    State: c (B, U). Output: h. Cost of a step: 3 U D multiply-adds, 4 U D where D is not U. Parallel form: a scan
    with peepholes=False; else the loop has no matrix product but that of the input.
    """

    options: ClassVar[tuple[str, ...]] = ("peepholes", "highway_bias")
    state_names: ClassVar[tuple[str, ...]] = ("c",)

    def __init__(self, units: int, *, peepholes: bool = True, highway_bias: float = 0.0, **kwargs: Any):
        super().__init__(units, **kwargs)
        self.peepholes, self.highway_bias = peepholes, highway_bias
        self.parallel = not peepholes

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        units, width = self.units, input_shape[-1]
        self.projects = width != units
        self.kernel = self.weight("kernel", "kernel", (width, (3 + self.projects) * units))
        self.peephole = self.bias = None
        if self.peepholes:
            self.peephole = self.weight("recurrent", "peephole", (2, units), "glorot_uniform")
        if self.use_bias:
            self.bias = self.weight("bias", "bias", (2, units), self._start)

    def _start(self, shape: Any, dtype: Any = None) -> Any:
        forget = self.bias_initializer((1, self.units), dtype=dtype)
        return ops.concatenate([forget, ops.full((1, self.units), self.highway_bias, dtype)])

    def project(self, x: Any) -> tuple[Any, Any, Any, Any]:
        """The candidate, what f and r read of x, and what passes by, (..., U) each."""
        both = ops.matmul(x, self.kernel)
        candidate, f, r, *rest = ops.split(both, 3 + self.projects, axis=-1)
        if self.bias is not None:
            f, r = f + self.bias[0], r + self.bias[1]
        passed = rest[0] if rest else x
        return candidate, f, r, math.sqrt(1 + 2 * math.exp(self.highway_bias)) * passed

    def gates(self, x: Any) -> tuple[Any, Any, Any]:
        candidate, f, r, passed = self.project(x)
        return ops.sigmoid(f), ops.sigmoid(-f) * candidate, (ops.sigmoid(r), passed)

    def show(self, h: Any, context: Any) -> Any:
        r, passed = context
        return passed + r * (h - passed)

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        if self.peephole is None:
            return super().call(inputs, states, training)
        (last,) = self.read(states)
        candidate, f, r, passed = self.project(self.drop_inputs(inputs, training))
        f, r = ops.sigmoid(f + self.peephole[0] * last), ops.sigmoid(r + self.peephole[1] * last)
        c = candidate + f * (last - candidate)
        return self.show(c, (r, passed)), [c]


@keras.saving.register_keras_serializable(package="rnnzoo")
class SRU(ScanRNN):
    """`keras.layers.RNN(SRUCell(units))` with the same weights and results (Lei et al. 2018).

    All steps at once where peepholes=False; else Keras's loop. Arguments, inputs and outputs are those of `MinGRU`.
    """

    cell_class = SRUCell
    stream_as = keras.layers.RNN
