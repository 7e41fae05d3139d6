"""Layers that rearrange or mark each step by itself: TimeDistributed, Permute, RepeatVector, Masking."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from streaming.conversion.rules import register
from streaming.conversion.rules.base import Env, Rule
from streaming.conversion.rules.pointwise import PerStep
from streaming.conversion.signals import Signal
from streaming.conversion.values import Chunk, Static


@register(layers.TimeDistributed)
class TimeDistributedRule(Rule):
    """Applies the inner layer to every step, folded into the batch."""

    def plan(self) -> Signal:
        signal = self.sequence()
        inner = self.call.op.layer
        if any(isinstance(layer, layers.RNN | layers.Bidirectional) for layer in inner._flatten_layers()):
            self.refuse("wraps a recurrent layer, which would loop within a step", "unroll it into layers of its own")
        return self.result(masked=signal.masked)

    def step(self, env: Env, inputs: Chunk, *args: Any, **kwargs: Any) -> Chunk:
        return inputs.like(flat=self.call.op.layer(inputs.flat, training=False))


@register(layers.Permute)
class PermuteRule(PerStep):
    """Another order of the feature axes."""

    def check(self) -> None:
        if self.call.signals[0].sequence and self.call.op.dims[0] != 1:
            self.refuse(f"moves the time axis (dims {self.call.op.dims})", "keep 1 first in dims")


@register(layers.RepeatVector)
class RepeatVectorRule(PerStep):
    """A value that has no time axis, some times over; a fixed number of copies is no stream."""


@register(layers.Masking)
class MaskingRule(Rule):
    """Marks the steps in which all features equal the mask value; they are zero from then on."""

    def plan(self) -> Signal:
        self.sequence()
        return self.result(masked=True)

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        value = keras.ops.cast(self.call.op.mask_value, inputs.full.dtype)
        mask = tf.reduce_any(tf.not_equal(inputs.full, value), axis=-1)
        full = tf.where(mask[:, :, None], inputs.full, tf.zeros_like(inputs.full))
        return Chunk(inputs.batch, inputs.steps, full=full, mask=mask)
