"""Layers that see the whole sequence offline, and in the stream only the bounded part that the user allows."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import layers

from streaming.conversion.rules import register
from streaming.conversion.rules.attention import SourceMultiHeadRule
from streaming.conversion.rules.base import Env, Rule
from streaming.conversion.signals import Signal, StateSpec, Timeline
from streaming.conversion.values import Chunk


class BoundedRule(Rule):
    """Exact for inputs of up to `reach` steps; beyond them the difference is measured and reported."""

    def bound(self, line: Timeline, reach: int, what: str) -> None:
        self.approximate = True
        self.exact_if.append(lambda steps: line.length(steps) <= reach)
        self.notes.append(f"layer {self.call.name!r} {what}: exact for sequences of up to {reach} steps")

    def line(self) -> Timeline:
        line = self.call.signals[0].timeline
        assert line is not None
        return line

    def window(self, env: Env, inputs: Chunk, past: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The chunk with `past` steps before it, (B, past + T, D), and which of those steps exist."""
        full = self.zeroed(env, inputs, self.call.signals[0])
        exists = tf.cast(env.valid(self.line()), tf.float32)
        if past:
            full = tf.concat([env.read(self.key("past")), full], axis=1)
            exists = tf.concat([env.read(self.key("past_valid")), exists], axis=1)
            env.write(self.key("past"), full[:, inputs.steps :])
            env.write(self.key("past_valid"), exists[:, inputs.steps :])
        return full, exists > 0.5


@register(layers.MultiHeadAttention)
class AttentionRule(BoundedRule):
    """Causal self-attention over the last W steps; keys and values of the past are the state.

    Attention to a source that was given whole goes to its own rule.
    """

    _source: SourceMultiHeadRule | None = None

    def plan(self) -> Signal:
        layer, span = self.call.op, self.call.options.attention_window
        signals = self.call.signals
        if any(signal.whole for signal in signals[1:]):
            self._source = SourceMultiHeadRule(self.call)
            return self._source.plan()
        if span is None:
            self.refuse(
                "attends to the whole sequence, so its state grows without bound",
                "convert with attention_window=W to bound the past, or use a recurrent layer",
            )
        if not self._flag("use_causal_mask"):
            self.refuse("attends to what is still to come", "call it with use_causal_mask=True")
        if self._flag("return_attention_scores"):
            self.refuse(
                "returns its weights with the heads before time, (B, H, T, T), as wide as the sequence is long",
                "call it without return_attention_scores",
            )
        if any(signal is not signals[0] for signal in signals) or not signals[0].sequence:
            self.refuse("attends from one sequence to another, or to masked steps", "use self-attention, layer(x, x)")
        if getattr(layer, "_attention_axes", (1,)) not in ((1,), None) or len(signals[0].shape) != 1:
            self.refuse("attends along several axes", "attend along time alone, on (B, T, D)")
        if span > 1:
            for name, width in (("keys", layer._key_dim), ("values", layer._value_dim)):
                self.states[name] = StateSpec((span - 1, layer._num_heads, width))
            self.states["exists"] = StateSpec((span - 1,))
        self.valid_of.append(self.line())
        self.bound(self.line(), span, f"attends to the last {span} steps")
        return self.result()

    def _flag(self, name: str) -> bool:
        return bool(self.call.kwargs.get(name, False))

    def step(self, env: Env, query: Chunk, *args: Any, **kwargs: Any) -> Chunk:
        if self._source is not None:
            return self._source.step(env, query, *args, **kwargs)
        layer, span, steps = self.call.op, self.call.options.attention_window or 1, query.steps
        full = query.full
        queries = layer._query_dense(full) * (layer._key_dim**-0.5)
        past = {
            "keys": layer._key_dense(full),
            "values": layer._value_dense(full),
            "exists": tf.cast(env.valid(self.line()), tf.float32),
        }
        if span > 1:
            past = {name: tf.concat([env.read(self.key(name)), new], axis=1) for name, new in past.items()}
            for name, line in past.items():
                env.write(self.key(name), line[:, steps:])
        total = steps + span - 1
        band = tf.linalg.band_part(tf.ones((steps, total)), 0, span - 1) > 0.5
        # (B, H, T, S): each query sees itself and the span - 1 steps before it.
        scores = tf.matmul(
            tf.transpose(queries, [0, 2, 1, 3]), tf.transpose(past["keys"], [0, 2, 1, 3]), transpose_b=True
        )
        seen = tf.logical_and(band[None, None], past["exists"][:, None, None] > 0.5)
        weights = tf.nn.softmax(tf.where(seen, scores, tf.fill(scores.shape, -1e9)))
        mixed = tf.transpose(tf.matmul(weights, tf.transpose(past["values"], [0, 2, 1, 3])), [0, 2, 1, 3])
        return query.like(full=layer._output_dense(mixed))
