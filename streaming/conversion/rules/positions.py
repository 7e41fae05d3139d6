"""A row of a table for each step: position embeddings."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from streaming.conversion.rules.base import Call, Env, Rule
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.values import Chunk


class PositionsRule(Rule):
    """table[t] at step t of a sequence, for as many steps as the table has rows."""

    def __init__(self, call: Call, table: NDArray[Any]) -> None:
        super().__init__(call)
        self.table = table

    def plan(self) -> Signal:
        line = self.call.signals[0].timeline
        assert line is not None
        self.longest = len(self.table)
        self.states["slot"] = StateSpec((1,), "int32")
        self.exact_if.append(lambda steps: line.length(steps) <= len(self.table))
        self.notes.append(f"layer {self.call.name!r} knows {len(self.table)} positions: later steps have the last one")
        return Signal(self.call.name, self.table.shape[1:], self.table.dtype.name, line)

    def step(self, env: Env, inputs: Chunk, *args: Any, **kwargs: Any) -> Chunk:
        line, slot = self.call.signals[0].timeline, env.read(self.key("slot"))
        assert line is not None
        env.write(self.key("slot"), slot + inputs.steps)
        place = slot + tf.range(inputs.steps, dtype=tf.int32)[None] - line.first
        flat = tf.reshape(tf.clip_by_value(place, 0, len(self.table) - 1), (-1,))
        return Chunk(env.batch, inputs.steps, flat=tf.gather(tf.constant(self.table), flat))
