"""Attention to a source: additive (Bahdanau 2015) and multiplicative (Luong 2015), global and local."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from rnnzoo.layers.precision import widened
from rnnzoo.layers.refusals import OverSequences, positive, refused

HIDDEN = -1e9


class SourceAttention(OverSequences, keras.layers.Layer):
    """Base of both kinds of attention: keys are computed once for a source, then weights and a context for each query.

    Input: query (B, T, Dq), memory (B, S, Dm), and a mask of the source (B, S). Output: the context (B, T, Dm), the
    mean of the memory under the weights, and with `return_attention_scores` also the weights (B, T, S), which are 0
    where the mask hides the source. A source that is completely masked gives zeros.

    Streamed, the source is named in `encode`, and the keys are computed there.
    """

    def __init__(self, units: int | None, window: int | None = None, predictive: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        sizes = {"units": units, "window": window}
        positive(self, **{name: size for name, size in sizes.items() if size is not None})
        self.units, self.window, self.predictive = units, window, predictive
        self.key_projection: Any = None
        self.attend = Attend(window, predictive, name="attend", dtype=self.dtype_policy)

    @property
    def counts_steps(self) -> bool:
        """Whether the weights depend on the number of the query."""
        return self.window is not None and not self.predictive

    def build(self, query_shape: tuple[Any, ...], memory_shape: tuple[Any, ...]) -> None:
        keys = tuple(memory_shape)
        if self.key_projection is not None:
            self.key_projection.build(keys)
            keys = self.key_projection.compute_output_shape(keys)
        self.attend.build(query_shape, keys)
        self.built = True

    def keys(self, memory: Any) -> Any:
        """Keys of the source, (B, S, U): the part of the scores that does not depend on the queries."""
        return memory if self.key_projection is None else self.key_projection(memory)

    def compute_mask(self, query: Any, previous_mask: Any) -> Any:
        return previous_mask

    def call(
        self,
        query: Any,
        memory: Any,
        query_mask: Any = None,
        memory_mask: Any = None,
        return_attention_scores: bool = False,
    ) -> Any:
        return self.attend(
            query, self.keys(memory), memory, memory_mask=memory_mask, return_attention_scores=return_attention_scores
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="rnnzoo")
class BahdanauAttention(SourceAttention):
    """Additive attention.

    Bahdanau, Cho & Bengio 2015, Neural Machine Translation by Jointly Learning to Align and Translate:

        e[t, s] = v . tanh(W query[t] + U memory[s]);   a[t] = softmax(e[t]);   context[t] = sum_s a[t, s] memory[s]

    Args:
        units: size U of the hidden layer of the alignment.

    Input and output: as of `SourceAttention`.

    Raises:
        ValueError: units below 1, or an input that is no sequence.
    """

    def __init__(self, units: int, **kwargs: Any):
        positive(self, units=units)
        super().__init__(units, **kwargs)
        self.key_projection = keras.layers.Dense(units, use_bias=False, name="keys", dtype=self.dtype_policy)
        self.attend.additive = True


@keras.saving.register_keras_serializable(package="rnnzoo")
class LuongAttention(SourceAttention):
    """Multiplicative attention, global and local.

    Luong, Pham & Manning 2015, Effective Approaches to Attention-based Neural Machine Translation:

        e[t, s] = query[t] . memory[s]                       score="dot"
                  query[t] . W memory[s]                     score="general"
                  v . tanh(W [query[t]; memory[s]])          score="concat"
        a[t] = softmax(e[t]);   context[t] = sum_s a[t, s] memory[s]

    Local attention sees the positions p - window <= s <= p + window only: around p = t (monotonic, local-m), or,
    predictive (local-p), around p = S sigmoid(v_p . tanh(W_p query[t])), S the length of the source, with weights
    a[t, s] exp(-(s - p)^2 / (2 sigma^2)), sigma = window / 2.

    Args:
        score: "dot", "general" or "concat".
        units: for "concat", the size of its hidden layer; None: as wide as a query.
        window: half the width of local attention, in positions; None: global.
        predictive: local-p in place of local-m.

    Input and output: as of `SourceAttention`; "dot" needs queries as wide as the memory.

    Raises:
        ValueError: a score of another name, a size below 1, `predictive` without a window, or widths that do not fit.
    """

    def __init__(
        self,
        score: str = "general",
        units: int | None = None,
        window: int | None = None,
        predictive: bool = False,
        **kwargs: Any,
    ):
        if score not in ("dot", "general", "concat"):
            raise refused(f"LuongAttention: expected score 'dot', 'general' or 'concat'. Received: score={score!r}")
        if predictive and window is None:
            raise refused("LuongAttention: expected a window with predictive=True. Received: window=None")
        super().__init__(units, window, predictive, **kwargs)
        self.score = score
        self.attend.additive = score == "concat"

    def build(self, query_shape: tuple[Any, ...], memory_shape: tuple[Any, ...]) -> None:
        width = query_shape[-1]
        if self.score == "dot" and width != memory_shape[-1]:
            raise refused(
                "LuongAttention: expected queries as wide as the memory for score='dot'; use 'general' for others. "
                f"Received: widths {width} and {memory_shape[-1]}"
            )
        if self.score != "dot" and self.key_projection is None:
            units = self.units or width if self.score == "concat" else width
            self.key_projection = keras.layers.Dense(units, use_bias=False, name="keys", dtype=self.dtype_policy)
        super().build(query_shape, memory_shape)

    def get_config(self) -> dict[str, Any]:
        own = {"score": self.score, "window": self.window, "predictive": self.predictive}
        return {**super().get_config(), **own}


class Attend(keras.layers.Layer):
    """Weights and context of queries, given the keys of a source: the part that is computed at each step."""

    def __init__(self, window: int | None, predictive: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.window, self.predictive, self.additive = window, predictive, False
        self.supports_masking = True

    def build(self, query_shape: tuple[Any, ...], keys_shape: tuple[Any, ...]) -> None:
        width, units = query_shape[-1], keys_shape[-1]
        if self.additive:
            self.query_kernel = self.add_weight((width, units), name="query_kernel")
            self.score_kernel = self.add_weight((units, 1), name="score_kernel")
        if self.predictive:
            self.position_kernel = self.add_weight((width, width), name="position_kernel")
            self.position_score = self.add_weight((width, 1), name="position_score")
        self.built = True

    def call(
        self,
        query: Any,
        keys: Any,
        memory: Any,
        memory_mask: Any = None,
        steps: Any = None,
        return_attention_scores: bool = False,
    ) -> Any:
        """steps: the numbers of the queries, (B, T), for monotonic local attention; None: counted from 0."""
        scores = widened(self._scores(query, keys))
        if memory_mask is not None:
            memory_mask = ops.cast(memory_mask, scores.dtype)[:, None, :]
        seen, nearness = memory_mask, None
        if self.window is not None:
            distance = self._distance(query, keys, memory_mask, steps)
            near = ops.cast(ops.abs(distance) <= self.window, scores.dtype)
            seen = near if seen is None else seen * near
            if self.predictive:
                nearness = ops.exp(-2.0 * ops.square(distance / self.window))
        if seen is not None:
            scores = scores * seen + HIDDEN * (1.0 - seen)
        # Keras warns of a softmax over one position, which a short source is.
        weights = ops.ones_like(scores) if scores.shape[-1] == 1 else ops.softmax(scores, axis=-1)
        # Where all is hidden, the softmax is uniform: no weight may reach what is not there.
        for factor in (seen, nearness):
            weights = weights if factor is None else weights * factor
        weights = ops.cast(weights, memory.dtype)
        context = ops.matmul(weights, memory)
        return (context, weights) if return_attention_scores else context

    def _scores(self, query: Any, keys: Any) -> Any:
        if not self.additive:
            return ops.matmul(query, ops.transpose(keys, (0, 2, 1)))
        hidden = ops.expand_dims(ops.matmul(query, self.query_kernel), 2) + ops.expand_dims(keys, 1)
        return ops.squeeze(ops.matmul(ops.tanh(hidden), self.score_kernel), -1)

    def _distance(self, query: Any, keys: Any, mask: Any, steps: Any) -> Any:
        """Distance of each position of the source from the centre of the window, (B, T, S) or (1, T, S)."""
        dtype = widened(query).dtype
        positions = ops.cast(ops.arange(ops.shape(keys)[1]), dtype)
        if not self.predictive:
            steps = ops.arange(ops.shape(query)[1])[None] if steps is None else steps
            return positions - ops.expand_dims(ops.cast(steps, dtype), -1)
        hidden = ops.tanh(ops.matmul(query, self.position_kernel))
        part = ops.cast(ops.sigmoid(ops.matmul(hidden, self.position_score)), dtype)
        length = ops.cast(ops.shape(keys)[1], dtype) if mask is None else ops.sum(mask, axis=-1, keepdims=True)
        return positions - length * part

    def stream_spec(self, input_shape: tuple[Any, ...]) -> dict[str, Any]:
        """State: the number of the next query, for monotonic local attention."""
        counts = self.window is not None and not self.predictive
        return {"states": {"step": {"shape": (1,)}} if counts else {}, "delay": 0}

    def stream_step(
        self,
        x: Any,
        valid: Any,
        states: dict[str, Any],
        keys: Any,
        memory: Any,
        memory_mask: Any = None,
        return_attention_scores: bool = False,
    ) -> Any:
        """A chunk of queries."""
        steps, new = None, {}
        if states:
            exists = ops.ones_like(x[:, :, 0]) if valid is None else ops.cast(valid, "float32")
            steps = states["step"] + ops.cumsum(exists, axis=1) - exists
            new["step"] = states["step"] + ops.sum(exists, axis=1, keepdims=True)
        return self.call(x, keys, memory, memory_mask, steps, return_attention_scores), valid, new
