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
        """Refuse attention within a sequence, and to what is still to come."""
        if not query.sequence or not all(signal.whole and len(signal.shape) == 2 for signal in source):
            self.refuse(
                "attends to the whole sequence, so its state grows without bound",
                "name the source in encode=..., or use MultiHeadAttention with use_causal_mask and attention_window",
            )
        if self.call.kwargs.get("use_causal_mask"):
            self.refuse("masks its source by position", "call it without use_causal_mask")

    def result(self, index: int = 0, **changes: Any) -> Signal:
        """The query's timeline, whatever the source."""
        query = keras.tree.flatten(self.call.args)[0]
        shape = tuple(self.call.results[index].shape[2:])
        dtype = keras.backend.standardize_dtype(self.call.results[index].dtype)
        return Signal(self.call.name, shape, dtype, query.timeline, masked=query.masked, **changes)

    def step(self, env: Env, *args: Any, mask: Any = None, **kwargs: Any) -> Any:
        query, *source = args[0]
        exists = _exists(source[0], mask[1] if isinstance(mask, list | tuple) and len(mask) > 1 else None)
        inputs, masks = [query.full, *(item.value for item in source)], [query.mask, exists]
        if len(self.call.results) == 1:
            return query.like(full=self.call.op(inputs, mask=masks))
        output, weights = self.call.op(inputs, mask=masks, return_attention_scores=True)
        if source[0].exists is not None:
            # Of a source that is masked throughout Keras weighs all positions alike, here those past its end too.
            weights *= tf.cast(source[0].exists[:, None], weights.dtype)
        return [query.like(full=output), query.like(full=weights)]


class SourceMultiHeadRule(SourceAttentionRule):
    """Multi-head attention of the stream to a source."""

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
        exists = _exists(source[0], kwargs.get("value_mask"))
        values = {name: item.value for name, item in named.items()}
        positional = [item.value for item in args]
        attended = None if exists is None else tf.tile(exists[:, None], [1, query.steps, 1])
        if query.mask is not None:
            values["query_mask"] = query.mask
        output = self.call.op(query.full, *positional, **values, attention_mask=attended)
        return query.like(full=output)


def _exists(source: Static, mask: Any) -> tf.Tensor | None:
    """Boolean (B, S), None for a source of fixed length, all of which is real."""
    if source.exists is None:
        return None
    if not isinstance(mask, Static):
        return source.exists
    return tf.logical_and(source.exists, tf.cast(mask.value, tf.bool))
