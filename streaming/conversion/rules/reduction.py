"""Global pooling: after each step, the value over all steps so far."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import layers

from streaming.conversion.rules import register
from streaming.conversion.rules.base import Env, Rule, expand_to
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.values import Chunk

LOWEST = float(tf.float32.min)


class RunningReduction(Rule):
    """A running mean or maximum over time and space; steps that are masked or do not exist do not change it."""

    kind = "mean"

    def plan(self) -> Signal:
        signal = self.sequence()
        line = signal.timeline
        assert line is not None
        self.refuse_channels_first()
        start = LOWEST if self.kind == "maximum" else 0.0
        features = tuple(self.call.results[0].shape[1:])
        keeps = getattr(self.call.op, "keepdims", False)
        inner = features[-1:] if keeps else features
        self.states["value"] = StateSpec(inner, initial=start)
        if self.kind == "mean":
            self.states["count"] = StateSpec((1,))
        if line.first > 0:
            self.valid_of.append(line)
        return Signal(self.call.name, features, signal.dtype, line, running=True)

    def step(self, env: Env, inputs: Chunk, *args: Any, mask: Chunk | None = None, **kwargs: Any) -> Chunk:
        value = env.read(self.key("value"))
        count = env.read(self.key("count")) if self.kind == "mean" else None
        keep = None if mask is None else tf.cast(mask.full, tf.bool)
        if self.valid_of:
            valid = env.valid(self.valid_of[0])
            keep = valid if keep is None else tf.logical_and(keep, valid)
        rows = []
        for index, row in enumerate(map(self.over_space, inputs.rows)):
            here = None if keep is None else keep[:, index]
            if count is not None:
                count = count + (1.0 if here is None else tf.cast(here, tf.float32)[:, None])
                # Stable over any length: the mean moves by its difference, no sum ever grows.
                new = value + (row - value) / expand_to(tf.maximum(count, 1.0)[:, 0], row)
            else:
                new = tf.maximum(value, row)
            value = new if here is None else tf.where(expand_to(here, new), new, value)
            rows.append(value)
        env.write(self.key("value"), value)
        if count is not None:
            env.write(self.key("count"), count)
        if getattr(self.call.op, "keepdims", False):
            rows = [tf.reshape(row, (env.batch, *self.call.results[0].shape[1:])) for row in rows]
        return Chunk(env.batch, inputs.steps, rows=rows)

    def over_space(self, row: tf.Tensor) -> tf.Tensor:
        """A step (B, F, ..., C) reduced over its axes between batch and channels, where the layer reduces these too."""
        axes = list(range(1, len(row.shape) - len(self.states["value"].shape)))
        if not axes:
            return row
        return tf.reduce_mean(row, axes) if self.kind == "mean" else tf.reduce_max(row, axes)


@register(layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D)
class GlobalAverageRule(RunningReduction):
    """The mean of all steps so far."""


@register(layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D)
class GlobalMaxRule(RunningReduction):
    """The largest value so far."""

    kind = "maximum"
