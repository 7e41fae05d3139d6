"""Concatenation along time: static steps before or after the sequence, such as a picture as the first word."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from streaming._compat import numpy_operations
from streaming.conversion.rules.base import Call, Env, Rule, expand_to
from streaming.conversion.signals import Signal, StateSpec, Timeline
from streaming.conversion.values import Chunk, Static


def joins_time(call: Call) -> bool:
    """Whether a call concatenates along the time axis of a sequence."""
    if not isinstance(call.op, layers.Concatenate | numpy_operations.Concatenate):
        return False
    return any(s.sequence and call.op.axis % len(s.offline_shape) == s.time_axis for s in call.signals)


class JoiningRule(Rule):
    """[static rows, sequence, static rows] one after the other.

    The sequence waits for the rows before it, so that the output comes as many steps later; the rows after it come once
    it has ended. The output has as many more positions.
    """

    def plan(self) -> Signal:
        items = keras.tree.flatten((self.call.args, self.call.kwargs))
        items = [item for item in items if item is not None]
        places = [index for index, item in enumerate(items) if isinstance(item, Signal) and item.sequence]
        if len(places) > 1:
            self.refuse(
                "joins two sequences one after the other, and the second begins when the first has ended",
                "name the first in encode=... and let a layer read it, or join along the features",
            )
        others = [item for item in items if not isinstance(item, Signal) or not item.sequence]
        if any(not isinstance(item, Signal) or item.timeline is not None or item.spread for item in others):
            self.refuse(
                "joins the sequence with what is no input of fixed size",
                "put before or after it along time inputs of fixed size alone; a shift that begins with zeros is "
                "ops.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))",
            )
        self.place, signal = places[0], items[places[0]]
        self.before = sum(int(item.shape[0]) for item in items[: self.place])
        self.after = sum(int(item.shape[0]) for item in items[self.place + 1 :])
        line = signal.timeline
        assert line is not None
        self.late = max(0, self.before - line.first)
        self.own = line.delayed(self.late)
        self.line = Timeline(self.own.start - self.before, self.own.end + self.after, line.clock)
        if self.late:
            self.hold("held", self.late, signal)
        self.states["slot"] = StateSpec((1,), "int32")
        if self.after:
            self.states["ended"] = StateSpec((1,), "int32")
            self.valid_of.append(self.own)
        return self.result(timeline=self.line)

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Chunk:
        items = [item for item in keras.tree.flatten((args, kwargs)) if isinstance(item, Chunk | Static)]
        inputs = items[self.place]
        assert isinstance(inputs, Chunk)
        full = self.held_back(env, "held", inputs.full) if self.late else inputs.full
        steps = inputs.steps
        count = tf.range(steps, dtype=tf.int32)[None]
        slot = env.read(self.key("slot"))
        env.write(self.key("slot"), slot + steps)
        position = slot + count - self.line.first
        if self.before:
            full = _placed(full, items[: self.place], position, position < self.before)
        if self.after:
            # What does not exist once the sequence has begun lies behind its end.
            over = tf.logical_and(tf.logical_not(env.valid(self.own)), position >= self.before)
            passed = env.read(self.key("ended")) + tf.cumsum(tf.cast(over, tf.int32), axis=1)
            env.write(self.key("ended"), passed[:, -1:])
            full = _placed(full, items[self.place + 1 :], passed - 1, over)
        return Chunk(env.batch, steps, full=full)


def _placed(full: tf.Tensor, rows: list[Any], place: tf.Tensor, here: tf.Tensor) -> tf.Tensor:
    """The rows (B, n, ...) at the slots where they belong; place (B, T): which of them."""
    table = tf.concat([row.value for row in rows], axis=1)
    batch, count, *shape = table.shape
    flat = tf.reshape(tf.cast(table, tf.float32), (batch, count, -1))
    chosen = tf.matmul(tf.one_hot(place, count), flat)
    chosen = tf.cast(tf.reshape(chosen, (batch, full.shape[1], *shape)), full.dtype)
    return tf.where(expand_to(tf.broadcast_to(here, full.shape[:2]), full), chosen, full)
