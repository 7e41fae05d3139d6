"""Attention of the stream to a source that was given whole: dot-product, additive, multi-head."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from streaming.conversion.rules import register
from streaming.conversion.rules.base import Env, Rule
from streaming.conversion.signals import Signal
from streaming.conversion.values import Chunk, Static


@register(layers.Attention, layers.AdditiveAttention)
class SourceAttentionRule(Rule):
    """Luong's (dot) and Bahdanau's (additive) attention: the query is the stream, values and keys the source."""

    def plan(self) -> Any:
        signals = keras.tree.flatten(self.call.args[0])
        self.check(signals[0], signals[1:])
        if len(self.call.results) > 1:
            return [self.result(), self.weights(1, signals[1])]
        return self.result()

    def check(self, query: Signal, source: list[Signal]) -> None:
        """Refuse attention within a sequence, and attention to future steps."""
        if not query.sequence or not all(signal.whole and len(signal.shape) == 2 for signal in source):
            self.refuse(
                "attends to the whole sequence, so its state grows without bound",
                "name the source in encode=..., or use MultiHeadAttention with use_causal_mask and attention_window",
            )
        if self.call.kwargs.get("use_causal_mask"):
            self.refuse("masks its source by position", "call it without use_causal_mask")

    def result(self, index: int = 0, **changes: Any) -> Signal:
        """An output on the timeline of the query, independent of the source."""
        query = keras.tree.flatten(self.call.args)[0]
        shape = tuple(self.call.results[index].shape[2:])
        dtype = keras.backend.standardize_dtype(self.call.results[index].dtype)
        return Signal(self.call.name, shape, dtype, query.timeline, **changes)

    def step(self, env: Env, *args: Any, mask: Any = None, **kwargs: Any) -> Any:
        query, *source = args[0]
        of_query, of_source = (mask if isinstance(mask, list | tuple) else [mask, None])[:2]
        seen = _seen(source[0], of_source)
        inputs = [query.full, *(item.value for item in source)]
        output, weights = self.call.op(inputs, mask=[None, seen], return_attention_scores=True)
        if source[0].exists is not None and of_source is not None:
            output, weights = _hidden_alike(source[0], seen, output, weights)
        if of_query is not None:
            output = tf.where(tf.cast(of_query.full, tf.bool)[..., None], output, tf.zeros_like(output))
        return [query.like(full=output), query.like(full=weights)][: len(self.call.results)]


def _hidden_alike(source: Static, seen: Any, output: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Weights over a source that is masked throughout: Keras weighs all positions alike, and none past its end."""
    share = tf.cast(source.exists, tf.float32)
    share /= tf.reduce_sum(share, axis=1, keepdims=True)
    some = tf.reduce_any(seen, axis=1)[:, None, None]
    mean = tf.matmul(share[:, None], source.value)
    weights = tf.where(some, weights, tf.broadcast_to(share[:, None], weights.shape))
    return tf.where(some, output, tf.broadcast_to(mean, output.shape)), weights


class SourceMultiHeadRule(SourceAttentionRule):
    """Multi-head attention of the stream to a source."""

    heeds_masks = True

    def plan(self) -> Signal:
        signals = [item for item in keras.tree.flatten((self.call.args, self.call.kwargs)) if isinstance(item, Signal)]
        self.check(signals[0], [s for s in signals[1:] if s.dtype == "float32"])
        if len(self.call.results) > 1:
            self.refuse(
                "returns its weights with the heads before time, (B, H, T, S)",
                "call it without return_attention_scores, or use Attention, whose weights are (B, T, S)",
            )
        return self.result()

    def step(self, env: Env, *args: Any, mask: Any = None, **kwargs: Any) -> Chunk:
        query, *args = args  # type: ignore[assignment]
        named = {name: item for name, item in kwargs.items() if name in ("value", "key")}
        source = [*args, *named.values()]
        seen = source[0].exists
        for name in ("value_mask", "key_mask"):
            seen = _seen(Static(source[0].value, seen), kwargs.get(name))
        values = {name: item.value for name, item in named.items()}
        positional = [item.value for item in args]
        attended = None if seen is None else tf.tile(seen[:, None], [1, query.steps, 1])
        full = query.full
        if query.mask is not None:
            full = tf.identity(full)
            full._keras_mask = query.mask
        return query.like(full=self.call.op(full, *positional, **values, attention_mask=attended))


def _seen(source: Static, mask: Any) -> tf.Tensor | None:
    """The positions of a source that are real and not masked, boolean (B, S); None where that is all."""
    if not isinstance(mask, Static):
        return source.exists
    kept = tf.cast(mask.value, tf.bool)
    return kept if source.exists is None else tf.logical_and(source.exists, kept)
