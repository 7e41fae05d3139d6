"""Largest and mean values in windows over time, with or without further axes."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from keras import layers

from streaming.conversion.rules import register
from streaming.conversion.rules.base import Env, expand_to
from streaming.conversion.rules.window import WindowRule
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.values import Chunk

_POOL = {"max": tf.nn.max_pool2d, "average": tf.nn.avg_pool2d}


class _Pooling(WindowRule):
    """Largest and mean values separate by axis: first those behind time, step by step, then time."""

    kind = "max"

    @property
    def geometry(self) -> tuple[int, int, str]:
        layer = self.call.op
        return layer.pool_size[0], layer.strides[0], layer.padding

    def pool(self, window: tf.Tensor) -> tf.Tensor:
        """(B, T, ..., C), padded in time, pooled along every axis but the channels."""
        op, shape = self.call.op, window.shape
        sizes, strides = list(op.pool_size[1:]), list(op.strides[1:])
        if sizes:
            batch, steps, *space, channels = shape
            image = tf.reshape(window, (batch * steps, *space, *[1] * (2 - len(space)), channels))
            beside = [1] * (2 - len(sizes))
            image = _POOL[self.kind](image, [*sizes, *beside], [*strides, *beside], op.padding.upper())
            window = tf.reshape(image, (batch, steps, *image.shape[1 : 1 + len(space)], channels))
        return self.pool_time(window)

    def pool_time(self, window: tf.Tensor) -> tf.Tensor:
        """(B, T, ..., C) pooled along time alone."""
        size, stride, _ = self.geometry
        batch, steps, *rest, channels = window.shape
        planar = tf.reshape(window, (batch, steps, math.prod(rest), channels))
        output = _POOL[self.kind](planar, [size, 1], [stride, 1], "VALID")
        return tf.reshape(output, (batch, output.shape[1], *rest, channels))


@register(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
class MaxPoolingRule(_Pooling):
    """The largest value in each window; positions that do not exist count as the lowest number."""

    padding_value = float(tf.float32.min)

    def compute(self, env: Env, window: tf.Tensor) -> tf.Tensor:
        return self.pool(window)


@register(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D)
class AveragePoolingRule(_Pooling):
    """The mean of the elements that exist in each window."""

    kind = "average"

    def plan(self) -> Signal:
        signal = super().plan()
        size, _, padding = self.geometry
        self.counted = padding != "valid" and size > 1
        if self.counted:
            line = self.call.signals[0].timeline
            assert line is not None
            self.valid_of = [line]
            self.states["past_valid"] = StateSpec((size - 1, 1))
        return signal

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        if self.counted:
            line = self.call.signals[0].timeline
            assert line is not None
            now = tf.cast(env.valid(line), tf.float32)[:, :, None]
            self.exists = tf.concat([env.read(self.key("past_valid")), now], axis=1)
            env.write(self.key("past_valid"), self.exists[:, inputs.steps :])
        return super().step(env, inputs, **kwargs)

    def compute(self, env: Env, window: tf.Tensor) -> tf.Tensor:
        output = self.pool(window)
        if not self.counted:
            return output
        _, stride, _ = self.geometry
        phase = self._line(self.call.signals[0]).first % stride
        share = self.pool_time(self.exists[:, phase : phase + window.shape[1]])
        return output / expand_to(tf.maximum(share[:, :, 0], 1e-6), output)
