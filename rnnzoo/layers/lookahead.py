"""Convolution over a few steps to the left and to the right."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from rnnzoo.layers.refusals import OverSequences, positive, refused


@keras.saving.register_keras_serializable(package="rnnzoo")
class LookaheadConv(OverSequences, keras.layers.Layer):
    """A convolution that sees `context` past and `lookahead` future steps, with zeros beyond both ends.

        y[t] = activation(b + sum_k x[t + k] W[k]),   k = -context ... lookahead

    With `units=None` each feature is filtered by itself, y[t] = sum_k w[k] * x[t + k], and with `context=0`
    this is the row convolution of Wang et al. 2016 (Lookahead Convolution Layer for Unidirectional Recurrent
    Neural Networks) and of Deep Speech 2. Streamed, the output comes `lookahead` steps late.

    Args:
        units: output features U; None: as many as the input has, each filtered by itself.
        lookahead: steps to the right.
        context: steps to the left.
        activation: name of an activation, or None.
        use_bias: add b.

    Input: (B, T, D); a mask (B, T) zeroes what it hides. Output: (B, T, U).

    Raises:
        ValueError: a size is negative, or `units` is not positive.
    """

    def __init__(
        self,
        units: int | None = None,
        lookahead: int = 2,
        context: int = 0,
        activation: str | None = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if units is not None:
            positive(self, units=units)
        if not all(isinstance(size, int) and size >= 0 for size in (lookahead, context)):
            raise refused(
                "LookaheadConv: expected lookahead and context to be whole numbers of 0 or more. "
                f"Received: lookahead={lookahead!r}, context={context!r}"
            )
        self.units, self.lookahead, self.context, self.use_bias = units, lookahead, context, use_bias
        self.activation = keras.activations.get(activation)
        self.supports_masking = True

    @property
    def taps(self) -> int:
        """Steps that one output sees."""
        return self.context + 1 + self.lookahead

    def build(self, input_shape: tuple[Any, ...]) -> None:
        features = input_shape[-1]
        shape = (self.taps, features) if self.units is None else (self.taps * features, self.units)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")
        self.bias = None
        if self.use_bias:
            width = features if self.units is None else self.units
            self.bias = self.add_weight(name="bias", shape=(width,), initializer="zeros")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units or input_shape[-1])

    def call(self, x: Any, mask: Any = None) -> Any:
        if mask is not None:
            x = x * ops.expand_dims(ops.cast(mask, x.dtype), -1)
        padded = ops.pad(x, [[0, 0], [self.context, self.lookahead], [0, 0]])
        return self._filter(padded, ops.shape(x)[1])

    def _filter(self, padded: Any, steps: Any) -> Any:
        windows = [padded[:, k : k + steps] for k in range(self.taps)]
        if self.units is None:
            y = sum(window * self.kernel[k] for k, window in enumerate(windows))
        else:
            # One product over all taps beats one a tap, and becomes one FULLY_CONNECTED on the device.
            y = ops.matmul(ops.concatenate(windows, axis=-1), self.kernel)
        return self.activation(y if self.bias is None else y + self.bias)

    def stream_spec(self, input_shape: tuple[int | None, ...]) -> dict[str, Any]:
        """State: the inputs that a window still needs, and which of the late ones exist."""
        kept = self.context + self.lookahead
        states = {}
        if kept:
            states["inputs"] = {"shape": (kept, input_shape[-1]), "dtype": "float32", "initial": 0.0}
        if self.lookahead:
            states["valid"] = {"shape": (self.lookahead,), "dtype": "float32", "initial": 0.0}
        return {"states": states, "delay": self.lookahead}

    def stream_step(
        self, x: Any, valid: Any, states: dict[str, Any], mask: Any = None
    ) -> tuple[Any, Any, dict[str, Any]]:
        """A chunk x (B, T, D); y[:, j] belongs to the input `lookahead` steps before x[:, j]."""
        steps, new = x.shape[1], {}
        if mask is not None:
            x = x * ops.expand_dims(ops.cast(mask, x.dtype), -1)
        if "inputs" in states:
            x = ops.concatenate([states["inputs"], x], axis=1)
            new["inputs"] = x[:, steps:]
        if "valid" in states:
            real = ops.ones_like(x[:, -steps:, 0]) if valid is None else ops.cast(valid, "float32")
            real = ops.concatenate([states["valid"], real], axis=1)
            new["valid"] = real[:, steps:]
            valid = None if valid is None else real[:, :steps] > 0.5
        return self._filter(x, steps), valid, new

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "lookahead": self.lookahead,
            "context": self.context,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }
