"""Layers that see the whole sequence offline and a bounded part of it in the stream, as far as the user grants it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from streaming.conversion.rules import register
from streaming.conversion.rules.attention import SourceMultiHeadRule
from streaming.conversion.rules.base import Env, Rule, expand_to
from streaming.conversion.rules.cells import stepper
from streaming.conversion.signals import Signal, StateSpec, Timeline
from streaming.conversion.values import Chunk


class _Bounded(Rule):
    """Exact for inputs of up to `reach` steps; beyond them the difference is measured and reported."""

    def _bound(self, line: Timeline, reach: int, what: str) -> None:
        self.approximate = True
        self.exact_if.append(lambda steps: line.length(steps) <= reach)
        self.notes.append(f"layer {self.call.name!r} {what}: exact for sequences of up to {reach} steps")

    def _line(self) -> Timeline:
        line = self.call.signals[0].timeline
        assert line is not None
        return line

    def window(self, env: Env, inputs: Chunk, past: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The chunk with `past` steps before it, (B, past + T, D), and which of those steps exist."""
        full = self.zeroed(env, inputs, self.call.signals[0])
        exists = tf.cast(env.valid(self._line()), tf.float32)
        if past:
            full = tf.concat([env.read(self.key("past")), full], axis=1)
            exists = tf.concat([env.read(self.key("past_valid")), exists], axis=1)
            env.write(self.key("past"), full[:, inputs.steps :])
            env.write(self.key("past_valid"), exists[:, inputs.steps :])
        return full, exists > 0.5


@register(layers.Bidirectional)
class BidirectionalRule(_Bounded):
    """Latency-controlled: the backward layer starts anew, N steps ahead of each chunk (Zhang et al. 2016).

    Zhang, Chen, Yu, Yao, Khudanpur, Glass: Highway long short-term memory RNNs for distant speech recognition.
    """

    def plan(self) -> Any:
        layer, ahead = self.call.op, self.call.options.lookahead
        if ahead is None:
            self.refuse(
                "reads the sequence backwards, from its end",
                "convert with lookahead=N to grant N steps of right context, or train a forward layer",
            )
        signal = self.sequence()
        if self.call.mask is not None:
            self.refuse("reads a masked sequence backwards", "leave masked steps out of the stream")
        if not layer.return_sequences or layer.return_state:
            self.refuse("gives what is known only at the end", "build its layers with return_sequences=True alone")
        line = self._line()
        for index, value in enumerate(_initial(layer.forward_layer)):
            self.states[f"forward{index}"] = StateSpec(value.shape, str(value.dtype), value)
        self.backward_start = _initial(layer.backward_layer)
        if ahead:
            self.states["past"] = StateSpec((ahead, *signal.shape))  # type: ignore[arg-type]
            self.states["past_valid"] = StateSpec((ahead,))
        self.valid_of.append(line)
        self._bound(line, ahead + 1, f"sees {ahead} steps ahead of each chunk")
        results = [self.result(index, timeline=line.delayed(ahead)) for index in range(len(self.call.results))]
        return results if len(results) > 1 else results[0]

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Any:
        layer, ahead, steps = self.call.op, self.call.options.lookahead or 0, inputs.steps
        full, exists = self.window(env, inputs, ahead)
        names = [name for name in self.states if name.startswith("forward")]
        states = [env.read(self.key(name)) for name in names]
        near = Chunk(env.batch, steps, full=full[:, :steps])
        forward, states = _scan(stepper(layer.forward_layer.cell, near, env), range(steps), states, exists)
        for name, state in zip(names, states, strict=True):
            env.write(self.key(name), state)
        far = Chunk(env.batch, steps + ahead, full=full)
        start = [tf.tile(tf.constant(v)[None], [env.batch] + [1] * v.ndim) for v in self.backward_start]
        order = range(steps + ahead - 1, -1, -1)
        backward, _ = _scan(stepper(layer.backward_layer.cell, far, env), order, start, exists)
        ours, theirs = inputs.like(rows=forward), inputs.like(rows=backward[::-1][:steps])
        return _merge(layer.merge_mode, ours, theirs)


def _initial(layer: Any) -> list[Any]:
    return [keras.ops.convert_to_numpy(state)[0] for state in keras.tree.flatten(layer.get_initial_state(batch_size=1))]


def _scan(
    advance: Any, order: range, states: list[tf.Tensor], exists: tf.Tensor
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Outputs in the order of the steps, and the last states; steps that do not exist hold the state."""
    outputs = []
    for index in order:
        output, new = advance(index, states)
        keep = exists[:, index]
        states = [tf.where(expand_to(keep, n), n, o) for n, o in zip(new, states, strict=True)]
        outputs.append(output)
    return outputs, states


def _merge(mode: str | None, a: Chunk, b: Chunk) -> Any:
    if mode is None:
        return [a, b]
    if mode == "concat":
        return a.like(flat=tf.concat([a.flat, b.flat], axis=-1))
    if mode == "mul":
        return a.like(flat=a.flat * b.flat)
    total = a.flat + b.flat
    return a.like(flat=total / 2 if mode == "ave" else total)


@register(layers.MultiHeadAttention)
class AttentionRule(_Bounded):
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
        self.valid_of.append(self._line())
        self._bound(self._line(), span, f"attends to the last {span} steps")
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
            "exists": tf.cast(env.valid(self._line()), tf.float32),
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
