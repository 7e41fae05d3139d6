"""A Transformer over a window of steps, to compare recurrent layers with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from rnnzoo.layers.precision import widened
from rnnzoo.layers.refusals import OverSequences, positive, refused
from streaming.errors import NotStreamableError


@keras.saving.register_keras_serializable(package="rnnzoo")
class TransformerBlock(OverSequences, keras.layers.Layer):
    """Attention to the last steps, then two dense layers.

    Vaswani et al. 2017, Attention Is All You Need; normalized before each part, Xiong et al. 2020; a sliding window,
    Beltagy et al. 2020; a bias for each distance, Raffel et al. 2020:

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
        causal: False: the window reaches as far ahead, |t - s| < window, as in the encoder of a translator. It streams
            there, in `encode`, and nowhere else.

    Input: (B, T, D); masked steps, by a mask (B, T), are not attended to. Output: (B, T, U).

    Raises:
        ValueError: a size is not positive, the window is below 2, U is no multiple of `heads`, a stateful layer is not
            causal, or its batch is not fixed.
    """

    def __init__(
        self,
        units: int,
        heads: int = 4,
        window: int = 64,
        expansion: int = 4,
        stateful: bool = False,
        causal: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        positive(self, units=units, heads=heads, window=window, expansion=expansion)
        if window < 2 or units % heads:
            raise refused(
                f"{type(self).__name__}: expected a window of 2 or more, and units that heads divide. "
                f"Received: units={units}, heads={heads}, window={window}"
            )
        if stateful and not causal:
            raise refused("TransformerBlock: expected causal=True with stateful=True. Received: causal=False")
        self.units, self.heads, self.window, self.expansion = units, heads, window, expansion
        self.stateful, self.causal = stateful, causal
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
        distances = self.window if self.causal else 2 * self.window - 1
        self.distance_bias = self.add_weight(name="distance_bias", shape=(self.heads, distances), initializer="zeros")
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

    def _block(
        self, x: Any, exists: Any, past: list[Any] | None, looked: Callable[[Any], Any] | None = None
    ) -> tuple[Any, list[Any]]:
        """Outputs of a chunk (B, T, D) after the keys, values and existence (B, H, W - 1, d), the same, (B, W - 1).

        looked: what to add between attention and the dense layers.
        """
        z = x if self.input_kernel is None else ops.matmul(x, self.input_kernel)
        query, key, value = (
            self._by_head(part) for part in ops.split(ops.matmul(self.outer_norm(z), self.attention_kernel), 3, axis=-1)
        )
        if past is not None:
            key, value = (ops.concatenate(pair, axis=2) for pair in zip(past[:2], (key, value), strict=True))
            exists = ops.concatenate([past[2], exists], axis=1)
        bias, near = self._distances(ops.shape(query)[2], ops.shape(key)[2])
        shown = ops.logical_and(near, ops.expand_dims(exists, (1, 2)) > 0)
        u = z + ops.matmul(self._attended(query, key, value, bias, shown), self.output_kernel)
        u = u if looked is None else u + looked(u)
        hidden = ops.relu(ops.matmul(self.inner_norm(u), self.hidden_kernel) + self.hidden_bias)
        y = u + ops.matmul(hidden, self.last_kernel) + self.last_bias
        start = ops.shape(key)[2] - self.window + 1
        return y, [] if past is None else [key[:, :, start:], value[:, :, start:], exists[:, start:]]

    def _attended(self, query: Any, key: Any, value: Any, bias: Any, shown: Any) -> Any:
        """Mean of the values under the weights of each query, all by head; (B, T, U)."""
        if value.shape[2] == 1:
            # Of a single key Keras warns, and the weight is 1.
            attended = ops.broadcast_to(value, ops.shape(query))
        else:
            scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) / math.sqrt(self.units // self.heads) + bias
            if shown is not None:
                # Far below any score, and within float16.
                scores = ops.where(shown, scores, ops.full_like(scores, -3e4))
            attended = ops.matmul(ops.cast(ops.softmax(widened(scores)), scores.dtype), value)
        return ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), (-1, ops.shape(query)[2], self.units))

    def _by_head(self, x: Any) -> Any:
        """(B, T, U) as (B, H, T, d)."""
        split = ops.reshape(x, (-1, ops.shape(x)[1], self.heads, self.units // self.heads))
        return ops.transpose(split, (0, 2, 1, 3))

    def _distances(self, queries: Any, keys: Any) -> tuple[Any, Any]:
        """The bias (H, T, S) of each query to each key, the last of both being of one step, and which are near."""
        known = isinstance(queries, int) and isinstance(keys, int)
        lib: Any = np if known else ops
        ahead = 0 if self.causal else self.window - 1
        distance = lib.expand_dims(lib.arange(queries) + keys - queries, 1) - lib.arange(keys) + ahead
        near = lib.logical_and(distance >= 0, distance < self.window + ahead)
        return ops.take(self.distance_bias, lib.clip(distance, 0, self.window + ahead - 1), axis=1), near

    def stream_spec(self, input_shape: tuple[int | None, ...]) -> dict[str, Any]:
        """State: keys and values of the steps in the window, and which of them exist.

        Raises:
            NotStreamableError: the block is not causal.
        """
        if not self.causal:
            raise NotStreamableError(
                f"layer {self.name!r} ({type(self).__name__}) sees {self.window - 1} steps ahead; "
                "take causal=True, or name the input that it comes from in encode=..."
            )
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
            "causal": self.causal,
        }


@keras.saving.register_keras_serializable(package="rnnzoo")
class TransformerDecoderBlock(TransformerBlock):
    """A causal block that also attends to a source, after its own past and before the dense layers.

    Vaswani et al. 2017:

        u, y as of `TransformerBlock`, with u[t] + P sum_s c[t, s] n[s] in place of u[t]
        c[t, s] = softmax over s of (R norm(u[t])) m[s] / sqrt(d),   [m; n] the source

    Args:
        Those of `TransformerBlock`.

    Input: (B, T, D) and the source (B, S, 2 U): the keys m and the values n of all heads, as `keras.layers.Dense(2 * U,
    use_bias=False)` makes them of what an encoder gives; what masks (B, T) and (B, S) hide is not attended to. Output:
    (B, T, U).

    Streamed, the source is named in `encode`, and its keys and values are computed there.

    Raises:
        ValueError: as of `TransformerBlock`, the block is not causal, or is stateful, or the source has another width.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.stateful or not self.causal:
            raise refused(
                "TransformerDecoderBlock: expected stateful=False and causal=True. "
                f"Received: stateful={self.stateful}, causal={self.causal}"
            )
        self.source_norm = keras.layers.LayerNormalization(name="source_norm", dtype=self.dtype_policy)

    def build(  # type: ignore[override]
        self, x_shape: tuple[int | None, ...], source_shape: tuple[int | None, ...]
    ) -> None:
        if source_shape[-1] != 2 * self.units:
            raise refused(
                f"TransformerDecoderBlock: expected a source of 2 x {self.units} features, keys and values. "
                f"Received: shape {tuple(source_shape)}"
            )
        super().build(x_shape)
        self.source_norm.build((*x_shape[:-1], self.units))
        shape = (self.units, self.units)
        self.query_kernel = self.add_weight(name="query_kernel", shape=shape, initializer="glorot_uniform")
        self.looked_kernel = self.add_weight(name="looked_kernel", shape=shape, initializer="glorot_uniform")

    def compute_output_shape(self, x_shape: tuple[int | None, ...], source_shape: Any = None) -> tuple[int | None, ...]:
        return super().compute_output_shape(x_shape)

    def compute_mask(self, x: Any, previous_mask: Any) -> Any:
        return previous_mask

    def call(  # type: ignore[override]
        self, x: Any, source: Any, x_mask: Any = None, source_mask: Any = None
    ) -> Any:
        exists = ops.ones_like(x[:, :, 0]) if x_mask is None else ops.cast(x_mask, x.dtype)
        return self._block(x, exists, None, lambda u: self._look(u, source, source_mask))[0]

    def _look(self, u: Any, source: Any, mask: Any) -> Any:
        query = self._by_head(ops.matmul(self.source_norm(u), self.query_kernel))
        key, value = (self._by_head(part) for part in ops.split(source, 2, axis=-1))
        shown = None if mask is None else ops.expand_dims(ops.cast(mask, "bool"), (1, 2))
        return ops.matmul(self._attended(query, key, value, 0.0, shown), self.looked_kernel)

    def stream_step(  # type: ignore[override]
        self, x: Any, valid: Any, states: dict[str, Any], source: Any, source_mask: Any = None
    ) -> tuple[Any, Any, dict[str, Any]]:
        """A chunk x (B, T, D)."""
        exists = ops.ones_like(x[:, :, 0]) if valid is None else ops.cast(valid, x.dtype)
        y, new = self._block(x, exists, list(states.values()), lambda u: self._look(u, source, source_mask))
        return y, valid, dict(zip(states, new, strict=True))
