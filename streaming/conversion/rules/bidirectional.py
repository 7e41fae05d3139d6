"""Bidirectional recurrent layers with a bounded look-ahead."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from streaming.conversion import keras_loops
from streaming.conversion.rules import register
from streaming.conversion.rules.base import Env, expand_to
from streaming.conversion.rules.bounded import BoundedRule
from streaming.conversion.rules.cells import scan, stepper, weight_bytes
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.values import Chunk

Rows = list[tf.Tensor]


@register(layers.Bidirectional)
class BidirectionalRule(BoundedRule):
    """Latency-controlled: the backward layer starts N steps ahead of each chunk (Zhang et al. 2016).

    Masked steps hold the states; their output is zero, as in Keras's Bidirectional. If only the last outputs are
    returned, that of the backward layer belongs to the first step: it runs over the first N + 1 steps.

    Zhang, Chen, Yu, Yao, Khudanpur, Glass: Highway long short-term memory RNNs for distant speech recognition.
    """

    def plan(self) -> Any:
        layer, ahead = self.call.op, self.call.options.lookahead
        if ahead is None:
            self.refuse(
                "reads the sequence backwards, from its end",
                "convert with lookahead=N to grant N steps of right context, or train a forward layer",
            )
        signal, mask = self._signals()
        if layer.return_state:
            self.refuse("gives states that are known only at the end", "build it with return_state=False")
        line = self.line()
        for index, value in enumerate(_initial(layer.forward_layer)):
            self.states[f"forward{index}"] = StateSpec(value.shape, str(value.dtype), value)
        self.backward_start = _initial(layer.backward_layer)
        self.valid_of.append(line)
        if not layer.return_sequences:
            return self._plan_last(signal, ahead)
        if ahead:
            self.states["past"] = StateSpec((ahead, *signal.shape))  # type: ignore[arg-type]
            self.states["past_valid"] = StateSpec((ahead,))
            if mask is not None:
                self.states["past_mask"] = StateSpec((ahead,))
        self.bound(line, ahead + 1, f"sees {ahead} steps ahead of each chunk")
        results = [self.result(index, timeline=line.delayed(ahead)) for index in range(len(self.call.results))]
        return results if len(results) > 1 else results[0]

    def _signals(self) -> tuple[Signal, Signal | None]:
        """The sequence and its mask; refuses initial states."""
        signal, mask = self.call.signals[0], self.call.mask
        others = [other for other in self.call.signals if other is not signal and other is not mask]
        if not signal.sequence or signal.layout is not None or others:
            self.refuse("takes more than one sequence of the stream", "call it on one input (B, T, D) alone")
        return signal, mask

    def _plan_last(self, signal: Signal, ahead: int) -> Any:
        """Running values: the last output forwards, and that of the first step backwards."""
        for index, symbolic in enumerate(self._last_outputs()):
            self.states[f"last{index}"] = StateSpec(tuple(symbolic.shape[1:]))
        self.states["first"] = StateSpec((ahead + 1, *signal.shape))  # type: ignore[arg-type]
        self.states["first_valid"] = StateSpec((ahead + 1,))
        self.states["position"] = StateSpec((1,))
        self.bound(self.line(), ahead + 1, f"runs backwards over the first {ahead + 1} steps")
        signals = []
        for symbolic in self.call.results:
            dtype = keras.backend.standardize_dtype(symbolic.dtype)
            signals.append(Signal(self.call.name, tuple(symbolic.shape[1:]), dtype, self.line(), running=True))
        return signals if len(signals) > 1 else signals[0]

    def _last_outputs(self) -> list[Any]:
        """The output of the forward layer, which masked steps hold."""
        signal = self.call.signals[0]
        return [self.call.op.forward_layer.compute_output_spec(keras.KerasTensor(signal.offline_shape))]

    def step(self, env: Env, inputs: Chunk, *args: Any, mask: Chunk | None = None, **kwargs: Any) -> Any:
        if not self.call.op.return_sequences:
            return self._step_last(env, inputs, mask)
        layer, ahead, steps = self.call.op, self.call.options.lookahead or 0, inputs.steps
        full, keep = self.window(env, inputs, ahead)
        if mask is not None:
            seen = tf.cast(mask.full, tf.float32)
            if ahead:
                seen = tf.concat([env.read(self.key("past_mask")), seen], axis=1)
                env.write(self.key("past_mask"), seen[:, steps:])
            keep = tf.logical_and(keep, seen > 0.5)
        names, states = self._forward_states(env)
        near = Chunk(env.batch, steps, full=full[:, :steps])
        forward, states = scan(stepper(layer.forward_layer.cell, near, env), range(steps), states, keep)
        for name, state in zip(names, states, strict=True):
            env.write(self.key(name), state)
        return _merge(layer.merge_mode, inputs.like(rows=forward), self._backward(env, inputs, full, keep))

    def _backward(self, env: Env, inputs: Chunk, full: tf.Tensor, keep: tf.Tensor) -> Chunk:
        """The outputs of the backward layer at the steps of the chunk, from those and the steps ahead of it."""
        cell, steps = self.call.op.backward_layer.cell, full.shape[1]
        if steps * weight_bytes(cell) > env.loop_bytes:
            states = self._start(env)
            outputs, *_ = keras_loops.scan(cell, full, states, env, mask=keep, backwards=True, zero_output=True)
            return inputs.like(full=tf.reverse(outputs, [1])[:, : inputs.steps])
        far = Chunk(env.batch, steps, full=full)
        rows, _ = scan(stepper(cell, far, env), range(steps - 1, -1, -1), self._start(env), keep)
        return inputs.like(rows=rows[::-1][: inputs.steps])

    def _forward_states(self, env: Env) -> tuple[list[str], Rows]:
        names = [name for name in self.states if name.startswith("forward")]
        return names, [env.read(self.key(name)) for name in names]

    def _start(self, env: Env) -> Rows:
        return [tf.tile(tf.constant(v)[None], [env.batch] + [1] * v.ndim) for v in self.backward_start]

    def _step_last(self, env: Env, inputs: Chunk, mask: Chunk | None) -> Any:
        layer, size = self.call.op, (self.call.options.lookahead or 0) + 1
        keep = exists = env.valid(self.line())
        if mask is not None:
            keep = tf.logical_and(exists, tf.cast(mask.full, tf.bool))
        names, states = self._forward_states(env)
        cell = stepper(layer.forward_layer.cell, inputs, env)
        forward, states = scan(cell, range(inputs.steps), states, keep, env.read(self.key("last0")), hold=True)
        first, marks, position = (env.read(self.key(name)) for name in ("first", "first_valid", "position"))
        backward, places = [], tf.range(size, dtype=tf.float32)[None]
        for index, row in enumerate(inputs.rows):
            here = tf.logical_and(tf.equal(places, position), exists[:, index : index + 1])
            first = tf.where(expand_to(here, first), row[:, None], first)
            marks = tf.where(here, tf.cast(keep[:, index : index + 1], tf.float32), marks)
            position = position + tf.cast(exists[:, index : index + 1], tf.float32)
            backward.append(self._last_backward(env, first, marks > 0.5))
        written = {"last0": forward[-1], "first": first, "first_valid": marks, "position": position}
        for name, state in [*written.items(), *zip(names, states, strict=True)]:
            env.write(self.key(name), state)
        return _merge(layer.merge_mode, inputs.like(rows=forward), inputs.like(rows=backward))

    def _last_backward(self, env: Env, first: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
        """The output of the backward layer at the first step, from the first steps of the sequence."""
        cell, size = self.call.op.backward_layer.cell, first.shape[1]
        if size * weight_bytes(cell) > env.loop_bytes:
            states = self._start(env)
            _, last, _ = keras_loops.scan(cell, first, states, env, mask=keep, backwards=True, collect=False)
            return last
        advance = stepper(cell, Chunk(env.batch, size, full=first), env)
        outputs, _ = scan(advance, range(size - 1, -1, -1), self._start(env), keep, hold=True)
        return outputs[-1]


def _initial(layer: Any) -> list[Any]:
    return [keras.ops.convert_to_numpy(state)[0] for state in keras.tree.flatten(layer.get_initial_state(batch_size=1))]


def _merge(mode: str | None, a: Chunk, b: Chunk) -> Any:
    if mode is None:
        return [a, b]
    if mode == "concat":
        return a.like(flat=tf.concat([a.flat, b.flat], axis=-1))
    if mode == "mul":
        return a.like(flat=a.flat * b.flat)
    total = a.flat + b.flat
    return a.like(flat=total / 2 if mode == "ave" else total)
