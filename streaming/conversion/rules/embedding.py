"""Table look-up by integer ids."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from streaming.conversion.rules import register
from streaming.conversion.rules.base import Env, Rule
from streaming.conversion.rules.pointwise import DenseRule
from streaming.conversion.signals import Signal
from streaming.conversion.values import Chunk, Static


@register(layers.Embedding)
class EmbeddingRule(Rule):
    """y = table[x]."""

    def plan(self) -> Signal:
        return self.result()

    def step(self, env: Env, ids: Chunk | Static, **kwargs: Any) -> Chunk | Static:
        table = keras.ops.convert_to_tensor(self.call.op.embeddings)
        if isinstance(ids, Static):
            return Static(tf.gather(table, tf.cast(ids.value, tf.int32)))
        flat = tf.cast(ids.flat, tf.int32)
        return ids.like(flat=tf.gather(table, flat))


@register(layers.ReversibleEmbedding)
class ReversibleEmbeddingRule(Rule):
    """A table look-up, or in reverse the scores of all its rows."""

    def plan(self) -> Signal:
        reverse = [*self.call.args[1:], self.call.kwargs.get("reverse", False)][0]
        self._rule: Rule = _Scores(self.call) if reverse else EmbeddingRule(self.call)
        return self._rule.plan()

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Any:
        return self._rule.step(env, *args, **kwargs)


class _Scores(DenseRule):
    flat_sequences = True
