"""Gated cells that can run in parallel, because their gates read only the input."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from rnnzoo.layers.linear.base import DiagonalCell, ScanRNN
from rnnzoo.layers.linear.interpolated import by_chunks, in_order, interpolated
from rnnzoo.layers.linear.scan import wide


def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)), by operations that TFLite has; bounded below by log(1e-37)."""
    # Keras's own becomes Softplus, which TFLite lacks.
    floor = 1e-7 if keras.backend.standardize_dtype(x.dtype) == "float16" else 1e-37
    return ops.log(ops.maximum(ops.sigmoid(x), floor))


class _MinimalCell(DiagonalCell):
    """Kernel (D, n U) and bias (n U), the candidate's columns last."""

    absent: ClassVar[tuple[str, ...]] = ("recurrent_dropout",)
    parts: ClassVar[int]

    def __init__(self, units: int, *, activation: Any = "linear", **kwargs: Any):
        super().__init__(units, activation=activation, **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width = self.parts * self.units
        self.kernel = self.weight("kernel", "kernel", (input_shape[-1], width))
        self.bias = self.weight("bias", "bias", (width,)) if self.use_bias else None

    def project(self, x: Any) -> list[Any]:
        """Input projections of the gates and of the candidate, (..., U) each."""
        *gates, candidate = ops.split(self.biased(ops.matmul(x, self.kernel)), self.parts, axis=-1)
        return [*gates, self.activation(candidate)]


@keras.saving.register_keras_serializable(package="rnnzoo")
class MinGRUCell(_MinimalCell):
    """Minimal gated recurrent unit (Feng et al. 2024, Were RNNs All We Needed?).

        z = sigmoid(x[t] W_z + b_z)                  update gate: share of the candidate
        g = act(x[t] W_g + b_g)
        h[t] = (1 - z) h[t-1] + z g

    Args:
        units: U.
        activation: the paper's is linear; its appendix, to stay in log space, has one that keeps g positive, which
            the scan here does not need.
        kwargs: see `LinearCell`.

    State: h (B, U). Output: h. Cost of a step: 2 U D multiply-adds. Parallel form: a scan, a = 1 - z, b = z g.
    """

    parts = 2

    def gates(self, x: Any) -> tuple[Any, Any, Any]:
        z, g = self.project(x)
        # 1 - sigmoid(z), without the loss of digits near one.
        return ops.sigmoid(-z), ops.sigmoid(z) * g, None

    def parallel_scan(self, x: Any, states: list[Any], mask: Any, training: bool | None) -> tuple[Any, list[Any]]:
        if mask is not None or self.activation is not keras.activations.linear:
            return super().parallel_scan(x, states, mask, training)
        (start,), rows, kernel = self.read(states), by_chunks(self.drop_inputs(x, training)), self.kernel
        if self.bias is not None:
            # As one more row of the kernel a bias and its gradient cost no pass of their own.
            rows = ops.concatenate([rows, ops.ones_like(rows[..., :1])], axis=-1)
            kernel = ops.concatenate([kernel, self.bias[None]], axis=0)
        z, g = (wide(ops.matmul(rows, part)) for part in ops.split(kernel, 2, axis=1))
        h = ops.cast(in_order(interpolated(z, g, wide(start)), ops.shape(x)[1]), self.compute_dtype)
        return h, [h[:, -1]]


@keras.saving.register_keras_serializable(package="rnnzoo")
class MinLSTMCell(_MinimalCell):
    """Minimal long short-term memory (Feng et al. 2024, Were RNNs All We Needed?), its gates normalized.

        f = sigmoid(x[t] W_f + b_f),   i = sigmoid(x[t] W_i + b_i)
        g = act(x[t] W_g + b_g)
        h[t] = f / (f + i) h[t-1] + i / (f + i) g

    Args:
        units: U.
        activation: the paper's is linear.
        kwargs: see `LinearCell`. Columns of the weights lie in the order f, i, g.

    State: h (B, U). Output: h. Cost of a step: 3 U D multiply-adds. Parallel form: a scan.
    """

    parts = 3

    def gates(self, x: Any) -> tuple[Any, Any, Any]:
        f, i, g = self.project(x)
        # f / (f + i) = sigmoid(log f - log i), where both may be too small to divide.
        ratio = log_sigmoid(f) - log_sigmoid(i)
        return ops.sigmoid(ratio), ops.sigmoid(-ratio) * g, None


@keras.saving.register_keras_serializable(package="rnnzoo")
class MinGRU(ScanRNN):
    """`keras.layers.RNN(MinGRUCell(units))` with the same weights and results, all steps at once (Feng et al. 2024).

    Args:
        units: U.
        return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask: as in
            `keras.layers.RNN`.
        recompute: keep only the inputs for the gradient, and compute the gates and the scan again.
        kwargs: of the cell; what every Keras layer takes.

    Input: (B, T, D), a boolean mask (B, T), an initial state (B, U). Output: as that of `keras.layers.RNN`.
    """

    cell_class = MinGRUCell
    stream_as = keras.layers.RNN


@keras.saving.register_keras_serializable(package="rnnzoo")
class MinLSTM(ScanRNN):
    """`keras.layers.RNN(MinLSTMCell(units))` with the same weights and results, all steps at once (Feng et al. 2024).

    Arguments, inputs and outputs are those of `MinGRU`.
    """

    cell_class = MinLSTMCell
    stream_as = keras.layers.RNN
