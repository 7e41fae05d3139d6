"""A causal Transformer that remembers a window: what recurrence is compared with."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from rnnzoo.layers.precision import widened
from rnnzoo.layers.refusals import OverSequences, positive, refused


@keras.saving.register_keras_serializable(package="rnnzoo")
class TransformerBlock(OverSequences, keras.layers.Layer):
    """Attention to the last steps, then two dense layers (Vaswani et al. 2017, Attention Is All You Need; normalized
    before each part, Xiong et al. 2020; a sliding window, Beltagy et al. 2020; a bias for each distance, Raffel et
    al. 2020).

        z[t] = P x[t];   q, k, v = (Q, K, V) norm(z);   a[t, s] = softmax over s of q[t] k[s] / sqrt(d) + r[t - s]
        u[t] = z[t] + O sum_s a[t, s] v[s],   0 <= t - s < window;   y[t] = u[t] + B relu(A norm(u[t]) + a) + b

    P is left out where the input has U features. Each of the `heads` has d = U / heads features and its own r. Stacked
    N times it sees N (window - 1) + 1 steps.

    Args:
        units: features U of the output.
        heads: of the attention.
        window: steps that are attended to, the present one among them.
        expansion: width of the hidden layer, in times of U.
        stateful: attend in each batch to the end of the batch before, whose gradient is stopped (Dai et al. 2019,
            Transformer-XL). The size of the batch is fixed; `reset_state` forgets.

    Input: (B, T, D); what a mask (B, T) hides is not attended to. Output: (B, T, U).

    Raises:
        ValueError: a size is not positive, the window is below 2, U is no multiple of `heads`, or the batch of a
            stateful layer is not fixed.
    """

    def __init__(
        self,
        units: int,
        heads: int = 4,
        window: int = 64,
        expansion: int = 4,
        stateful: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        positive(self, units=units, heads=heads, window=window, expansion=expansion)
        if window < 2 or units % heads:
            raise refused(
                "TransformerBlock: expected a window of 2 or more, and units that heads divide. "
                f"Received: units={units}, heads={heads}, window={window}"
            )
        self.units, self.heads, self.window, self.expansion, self.stateful = units, heads, window, expansion, stateful
        self.outer_norm = keras.layers.LayerNormalization(name="outer_norm", dtype=self.dtype_policy)
        self.inner_norm = keras.layers.LayerNormalization(name="inner_norm", dtype=self.dtype_policy)
        self.states: list[Any] = []
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        units, width = self.units, self.expansion * self.units

        def kernel(name: str, *shape: int | None) -> Any:
            return self.add_weight(name=name, shape=shape, initializer="glorot_uniform")

        self.input_kernel = None if input_shape[-1] == units else kernel("input_kernel", input_shape[-1], units)
        self.attention_kernel = kernel("attention_kernel", units, 3 * units)
        self.output_kernel = kernel("output_kernel", units, units)
        self.distance_bias = self.add_weight(name="distance_bias", shape=(self.heads, self.window), initializer="zeros")
        self.hidden_kernel, self.last_kernel = (
            kernel("hidden_kernel", units, width),
            kernel("last_kernel", width, units),
        )
        self.hidden_bias = self.add_weight(name="hidden_bias", shape=(width,), initializer="zeros")
        self.last_bias = self.add_weight(name="last_bias", shape=(units,), initializer="zeros")
        for norm in (self.outer_norm, self.inner_norm):
            norm.build((*input_shape[:-1], units))
        if self.stateful:
            if input_shape[0] is None:
                raise refused(
                    "TransformerBlock: expected a fixed batch for stateful=True, such as "
                    f"keras.Input(batch_shape=(8, None, {input_shape[-1]})). Received: input shape {tuple(input_shape)}"
                )
            specs = self.stream_spec(input_shape)["states"].items()
            states = [
                keras.Variable(np.zeros((input_shape[0], *spec["shape"]), "float32"), trainable=False, name=name)
                for name, spec in specs
            ]
            # Past Keras's tracking: they are no weights, as those of keras.layers.RNN are none.
            object.__setattr__(self, "states", states)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def reset_state(self) -> None:
        """Forget what a stateful layer remembers."""
        for state in self.states:
            state.assign(ops.zeros_like(state))

    def call(self, x: Any, mask: Any = None) -> Any:
        exists = ops.ones_like(x[:, :, 0]) if mask is None else ops.cast(mask, x.dtype)
        if not self.states:
            return self._block(x, exists, None)[0]
        past = [ops.cast(state, x.dtype) for state in self.states]
        y, new = self._block(x, exists, past)
        for state, value in zip(self.states, new, strict=True):
            state.assign(ops.stop_gradient(ops.cast(value, state.dtype)))
        return y

    def _block(self, x: Any, exists: Any, past: list[Any] | None) -> tuple[Any, list[Any]]:
        """Outputs of a chunk (B, T, D) after the keys, values and existence (B, H, W - 1, d), the same, (B, W - 1)."""
        z = x if self.input_kernel is None else ops.matmul(x, self.input_kernel)
        query, key, value = (
            self._by_head(part) for part in ops.split(ops.matmul(self.outer_norm(z), self.attention_kernel), 3, axis=-1)
        )
        if past is not None:
            key, value = (ops.concatenate(pair, axis=2) for pair in zip(past[:2], (key, value), strict=True))
            exists = ops.concatenate([past[2], exists], axis=1)
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) / math.sqrt(self.units // self.heads)
        bias, near = self._distances(ops.shape(query)[2], ops.shape(key)[2])
        shown = ops.logical_and(near, ops.expand_dims(exists, (1, 2)) > 0)
        # Far below any score, and within float16.
        scores = ops.where(shown, scores + bias, ops.full_like(scores, -3e4))
        # Of a single key Keras warns, and the weight is 1.
        attended = value if value.shape[2] == 1 else ops.matmul(self._weights(scores), value)
        attended = ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), (-1, ops.shape(x)[1], self.units))
        u = z + ops.matmul(attended, self.output_kernel)
        hidden = ops.relu(ops.matmul(self.inner_norm(u), self.hidden_kernel) + self.hidden_bias)
        y = u + ops.matmul(hidden, self.last_kernel) + self.last_bias
        start = ops.shape(key)[2] - self.window + 1
        return y, [] if past is None else [key[:, :, start:], value[:, :, start:], exists[:, start:]]

    def _weights(self, scores: Any) -> Any:
        return ops.cast(ops.softmax(widened(scores)), scores.dtype)

    def _by_head(self, x: Any) -> Any:
        """(B, T, U) as (B, H, T, d)."""
        split = ops.reshape(x, (-1, ops.shape(x)[1], self.heads, self.units // self.heads))
        return ops.transpose(split, (0, 2, 1, 3))

    def _distances(self, queries: Any, keys: Any) -> tuple[Any, Any]:
        """The bias (H, T, S) of each query to each key, the last of both being of one step, and which are near."""
        if isinstance(queries, int) and isinstance(keys, int):
            distance = np.arange(keys - queries, keys)[:, None] - np.arange(keys)
            near = (distance >= 0) & (distance < self.window)
            return ops.take(self.distance_bias, np.clip(distance, 0, self.window - 1), axis=1), near
        distance = ops.expand_dims(ops.arange(queries) + keys - queries, 1) - ops.arange(keys)
        near = ops.logical_and(distance >= 0, distance < self.window)
        return ops.take(self.distance_bias, ops.clip(distance, 0, self.window - 1), axis=1), near

    def stream_spec(self, input_shape: tuple[int | None, ...]) -> dict[str, Any]:
        """State: keys and values of the steps in the window, and which of them exist."""
        past, size = self.window - 1, self.units // self.heads
        return {
            "states": {
                "keys": {"shape": (self.heads, past, size)},
                "values": {"shape": (self.heads, past, size)},
                "exists": {"shape": (past,)},
            },
            "delay": 0,
        }

    def stream_step(self, x: Any, valid: Any, states: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        """A chunk x (B, T, D)."""
        exists = ops.ones_like(x[:, :, 0]) if valid is None else ops.cast(valid, x.dtype)
        y, new = self._block(x, exists, list(states.values()))
        return y, valid, dict(zip(states, new, strict=True))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "heads": self.heads,
            "window": self.window,
            "expansion": self.expansion,
            "stateful": self.stateful,
        }
