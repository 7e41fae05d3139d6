"""Layers that rearrange or mark each step by itself: TimeDistributed, Permute, RepeatVector, Masking."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from streaming.conversion.keras_loops import keras_loops
from streaming.conversion.rules import register_rule
from streaming.conversion.rules.base import Env, Rule
from streaming.conversion.rules.per_step import TriedPerStep
from streaming.conversion.rules.pointwise import PerStep
from streaming.conversion.signals import Signal
from streaming.conversion.values import Chunk


@register_rule(layers.TimeDistributed)
class TimeDistributedRule(TriedPerStep):
    """Calls the inner layer on every step, folded into the batch; recurrent layers in it loop within a step.

    The inner layer gets the mask of its step where its `call` takes one, as Keras gives it.
    """

    def plan(self) -> Any:
        if not self.call.signals[0].sequence:
            return super().plan()
        return self.result()

    def step(self, env: Env, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.call.signals[0].sequence:
            return super().step(env, inputs, *args, **kwargs)
        inner, mask = self.call.op.layer, kwargs.get("mask")
        options: dict[str, Any] = {"training": False} if inner._call_has_training_arg else {}
        if mask is not None and inner._call_has_mask_arg:
            options["mask"] = mask.flat
        with keras_loops(env):
            return inputs.like(flat=inner.call(inputs.flat, **options))


@register_rule(layers.Permute)
class PermuteRule(PerStep):
    """Another order of the feature axes."""

    def check(self) -> None:
        if self.call.signals[0].sequence and self.call.op.dims[0] != 1:
            self.refuse(f"moves the time axis (dims {self.call.op.dims})", "keep 1 first in dims")


@register_rule(layers.RepeatVector)
class RepeatVectorRule(PerStep):
    """Repeats a value without a time axis; a fixed number of copies is not a stream."""


@register_rule(layers.Masking)
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
