"""Layer normalization inside of the recurrence (Ba, Kiros & Hinton 2016)."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from rnnzoo.layers.cells.base import RecurrentCell
from rnnzoo.layers.cells.lstm import LSTMCell


def normalize(x: Any, gain: Any, epsilon: float) -> Any:
    """gain (x - mean) / sqrt(variance + epsilon), over the features."""
    # Half precision cannot hold the squares of what it can hold.
    wide = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    centred = wide - ops.mean(wide, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
    return ops.cast(centred * ops.rsqrt(variance + epsilon), x.dtype) * gain


@keras.saving.register_keras_serializable(package="rnnzoo")
class LayerNormLSTMCell(LSTMCell):
    """Layer-normalized LSTM (Ba, Kiros & Hinton 2016, Layer Normalization, equations 20 to 22).

        i, f, g, o = split(LN(x[t] W; a_x) + LN(h[t-1] R; a_h) + b)
        c[t] = gate(f) c[t-1] + gate(i) act(g),   h[t] = gate(o) act(LN(c[t]; a_c) + b_c)
        LN(z; a) = a (z - mean(z)) / sqrt(var(z) + epsilon), over all 4 U values of the gates, or the U of c

    The paper's offsets of the first two are one with b. Weights: those of `LSTMCell`, `kernel_gain` and
    `recurrent_gain` (4 U), `state_gain` and `state_offset` (U).

    Args:
        units: U.
        epsilon: added to the variance.
        kwargs: those of `LSTMCell`, without peepholes, projection and coupled; see `RecurrentCell`.

    State: h (B, U), c (B, U). Output: h. Cost of a step: 4 U (D + U) multiply-adds. Parallel form: none.
    """

    options: ClassVar[tuple[str, ...]] = ("recurrent_activation", "unit_forget_bias", "epsilon")

    def __init__(self, units: int, *, epsilon: float = 1e-3, **kwargs: Any):
        # RecurrentCell refuses what is not in `options`; LSTMCell would take these.
        self._refuse_unknown({name: kwargs[name] for name in _PLAIN_ONLY if name in kwargs}, {})
        super().__init__(units, **kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.kernel_gain = self.add_weight(name="kernel_gain", shape=(4 * self.units,), initializer="ones")
        self.recurrent_gain = self.add_weight(name="recurrent_gain", shape=(4 * self.units,), initializer="ones")
        self.state_gain = self.add_weight(name="state_gain", shape=(self.units,), initializer="ones")
        self.state_offset = self.add_weight(name="state_offset", shape=(self.units,), initializer="zeros")

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        h, c = self.read(states)
        x, h = self.drop(inputs, h, training)
        read_x = normalize(ops.matmul(x, self.kernel), self.kernel_gain, self.epsilon)
        read_h = normalize(ops.matmul(h, self.recurrent_kernel), self.recurrent_gain, self.epsilon)
        i, f, g, o = ops.split(self.biased(read_x + read_h), 4, axis=-1)
        gate = self.recurrent_activation
        c = gate(f) * c + gate(i) * self.activation(g)
        h = gate(o) * self.activation(normalize(c, self.state_gain, self.epsilon) + self.state_offset)
        return h, [h, c]


_PLAIN_ONLY = ("peepholes", "projection", "coupled")


@keras.saving.register_keras_serializable(package="rnnzoo")
class LayerNormGRUCell(RecurrentCell):
    """Layer-normalized GRU (Ba, Kiros & Hinton 2016, Layer Normalization, equations 26 to 29).

        z, r = gate(split(LN(x[t] W_zr) + LN(h[t-1] R_zr) + b_zr))
        g = act(LN(x[t] W_g) + b_g + r (LN(h[t-1] R_g) + d_g))
        h[t] = z h[t-1] + (1 - z) g

    z keeps, as in `GRUCell`, where the paper's z replaces. Each LN runs over the 2 U values of both gates, or the U of
    the candidate, and has gains of its own. Weights: `kernel`, `recurrent_kernel` in the order z, r, g, `bias` (3 U),
    `recurrent_bias` d_g (U), `kernel_gain` and `recurrent_gain` (3 U).

    Args:
        units: U.
        recurrent_activation: gate.
        epsilon: added to the variance.
        kwargs: see `RecurrentCell`.

    State: h (B, U). Output: h. Cost of a step: 3 U (D + U) multiply-adds. Parallel form: none.
    """

    options: ClassVar[tuple[str, ...]] = ("recurrent_activation", "epsilon")

    def __init__(self, units: int, *, recurrent_activation: Any = "sigmoid", epsilon: float = 1e-3, **kwargs: Any):
        super().__init__(units, **kwargs)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width = 3 * self.units
        self.kernel = self.weight("kernel", "kernel", (input_shape[-1], width))
        self.recurrent_kernel = self.weight("recurrent", "recurrent_kernel", (self.units, width))
        self.kernel_gain = self.add_weight(name="kernel_gain", shape=(width,), initializer="ones")
        self.recurrent_gain = self.add_weight(name="recurrent_gain", shape=(width,), initializer="ones")
        self.bias = self.weight("bias", "bias", (width,)) if self.use_bias else None
        self.recurrent_bias = self.weight("bias", "recurrent_bias", (self.units,)) if self.use_bias else None

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        (last,) = self.read(states)
        x, h = self.drop(inputs, last, training)
        x_gates, x_g = self._normalized(ops.matmul(x, self.kernel), self.kernel_gain, self.bias)
        h_gates, h_g = self._normalized(ops.matmul(h, self.recurrent_kernel), self.recurrent_gain, None)
        z, r = ops.split(self.recurrent_activation(x_gates + h_gates), 2, axis=-1)
        h_g = h_g if self.recurrent_bias is None else h_g + self.recurrent_bias
        g = self.activation(x_g + r * h_g)
        h = z * last + (1 - z) * g
        return h, [h]

    def _normalized(self, product: Any, gain: Any, bias: Any) -> tuple[Any, Any]:
        """Projections that both gates read (B, 2 U) and that the candidate reads (B, U)."""
        parts = []
        for part in (slice(None, 2 * self.units), slice(2 * self.units, None)):
            value = normalize(product[:, part], gain[part], self.epsilon)
            parts.append(value if bias is None else value + bias[part])
        return parts[0], parts[1]
