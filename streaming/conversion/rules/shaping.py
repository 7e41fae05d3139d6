"""Layers that rearrange or mark each step by itself: TimeDistributed, reshaping, masking."""

from __future__ import annotations

import math
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
        self.sequence()
        inner = self.call.op.layer
        if any(isinstance(layer, layers.RNN | layers.Bidirectional) for layer in inner._flatten_layers()):
            self.refuse("wraps a recurrent layer, which would loop within a step", "unroll it into layers of its own")
        return self.result()

    def step(self, env: Env, inputs: Chunk, *args: Any, **kwargs: Any) -> Chunk:
        inner, given = self.call.op.layer, kwargs.get("mask")
        masked = {"mask": given.flat} if given is not None and inner._call_has_mask_arg else {}
        return inputs.like(flat=inner(inputs.flat, training=False, **masked))


@register(layers.Reshape, layers.Flatten)
class ReshapeRule(Rule):
    """Another shape for each step, its size unchanged."""

    def plan(self) -> Signal | Any:
        signal = self.call.signals[0]
        result = self.result()
        if signal.timeline is not None and math.prod(signal.shape) != math.prod(result.shape):  # type: ignore[arg-type]
            self.refuse(
                f"reshapes {signal.offline_shape} to {result.offline_shape}, so that steps are mixed",
                "reshape to (-1, ...) with as many values as a step has",
            )
        return result

    def step(self, env: Env, inputs: Chunk | Static, **kwargs: Any) -> Chunk | Static:
        if isinstance(inputs, Static):
            return Static(self.call.op(inputs.value))
        shape = self.result().shape
        return inputs.like(flat=tf.reshape(inputs.flat, (inputs.flat.shape[0], *shape)))


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
    """Zeroes the steps in which all features equal the mask value."""

    def plan(self) -> Signal:
        self.sequence()
        return self.result()

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        value = keras.ops.cast(self.call.op.mask_value, inputs.full.dtype)
        mask = tf.reduce_any(tf.not_equal(inputs.full, value), axis=-1)
        full = tf.where(mask[:, :, None], inputs.full, tf.zeros_like(inputs.full))
        return inputs.like(full=full)
