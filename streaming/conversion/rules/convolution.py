"""Convolutions over time, with or without further axes (frequency, height, width)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import layers, ops

from streaming.conversion.rules import register
from streaming.conversion.rules.base import Env, Rule, expand_to
from streaming.conversion.rules.window import WindowRule, same_padding
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.values import Chunk


class _Convolution(WindowRule):
    @property
    def geometry(self) -> tuple[int, int, str]:
        layer = self.call.op
        return (layer.kernel_size[0] - 1) * layer.dilation_rate[0] + 1, layer.strides[0], layer.padding

    def compute(self, env: Env, window: tf.Tensor) -> tf.Tensor:
        layer = self.call.op
        output = self.convolve(env, self._pad_space(window))
        if layer.use_bias:
            output += ops.convert_to_tensor(layer.bias)
        return output if layer.activation is None else layer.activation(output)

    def convolve(self, env: Env, window: tf.Tensor) -> tf.Tensor:
        """The convolution, padding in no axis."""
        raise NotImplementedError

    def _pad_space(self, window: tf.Tensor) -> tf.Tensor:
        """Zeros around the axes behind time, which have known sizes."""
        layer = self.call.op
        if layer.padding != "same" or len(layer.kernel_size) == 1:
            return window
        pads = [[0, 0], [0, 0]]
        for axis, kernel in enumerate(layer.kernel_size[1:], 1):
            reach = (kernel - 1) * layer.dilation_rate[axis] + 1
            pads.append(list(same_padding(window.shape[axis + 1], reach, layer.strides[axis])))
        return tf.pad(window, [*pads, [0, 0]])


@register(layers.Conv1D, layers.Conv2D, layers.Conv3D)
class ConvRule(_Convolution):
    """y[j] = b + sum_k kernel[k] x[j S - L + k dilation], axis 1 being time."""

    def convolve(self, env: Env, window: tf.Tensor) -> tf.Tensor:
        layer = self.call.op
        kernel = ops.convert_to_tensor(layer.kernel)
        size, _, _ = self.geometry
        if env.fused and window.shape[1] == size and len(kernel.shape) == 3 and layer.groups == 1:
            taps = window[:, :: layer.dilation_rate[0]] if layer.dilation_rate[0] > 1 else window
            flat = taps.shape[1] * taps.shape[2]
            return tf.matmul(tf.reshape(taps, (env.batch, flat)), tf.reshape(kernel, (flat, layer.filters)))
        dilation = list(layer.dilation_rate)
        return ops.conv(window, kernel, strides=layer.strides, padding="valid", dilation_rate=dilation)


@register(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
class DepthwiseConvRule(_Convolution):
    """A convolution of each channel by itself."""

    def convolve(self, env: Env, window: tf.Tensor) -> tf.Tensor:
        layer = self.call.op
        kernel, dilation = ops.convert_to_tensor(layer.kernel), tuple(layer.dilation_rate)
        return ops.depthwise_conv(window, kernel, strides=layer.strides, padding="valid", dilation_rate=dilation)


@register(layers.SeparableConv1D, layers.SeparableConv2D)
class SeparableConvRule(_Convolution):
    """A depthwise convolution, then one over channels."""

    def convolve(self, env: Env, window: tf.Tensor) -> tf.Tensor:
        layer = self.call.op
        depthwise, pointwise = (
            ops.convert_to_tensor(layer.depthwise_kernel),
            ops.convert_to_tensor(layer.pointwise_kernel),
        )
        strides, dilation = tuple(layer.strides), tuple(layer.dilation_rate)
        return ops.separable_conv(
            window, depthwise, pointwise, strides=strides, padding="valid", dilation_rate=dilation
        )


@register(layers.Conv1DTranspose, layers.Conv2DTranspose)
class ConvTransposeRule(Rule):
    """Each step adds K outputs, S after those of the step before; what overlaps later steps is the state."""

    def plan(self) -> Signal:
        layer, signal = self.call.op, self.sequence()
        if layer.data_format != "channels_last":
            self.refuse("has its channels before time", "build it with data_format='channels_last'")
        if set(layer.dilation_rate) != {1} or layer.output_padding is not None:
            self.refuse("has dilation or output padding", "build it without them")
        if len(layer.kernel_size) > 1 and layer.padding != "valid":
            self.refuse("pads 'same' beside time", "build it with padding='valid'")
        line = signal.timeline
        assert line is not None
        overlap = max(layer.kernel_size[0] - layer.strides[0], 0)
        if overlap:
            shape = self._output_shape(signal)
            self.states["overlap"] = StateSpec((overlap, *shape))
        if overlap and not signal.quiet:
            self.valid_of.append(line)
        line = line.repeated(layer.strides[0])
        left = overlap // 2
        line = line.delayed(left) if layer.padding == "same" else line.shifted(0, overlap)
        return self.result(timeline=line)

    def _output_shape(self, signal: Signal) -> tuple[int, ...]:
        return tuple(int(size) for size in self.call.results[0].shape[2:])  # type: ignore[arg-type]

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        layer = self.call.op
        full = self.zeroed(env, inputs, self.call.signals[0])
        strides = list(layer.strides)
        output = ops.conv_transpose(full, ops.convert_to_tensor(layer.kernel), strides=strides, padding="valid")
        count = inputs.steps * strides[0]
        if "overlap" in self.states:
            before = env.read(self.key("overlap"))
            zeros = tf.zeros((env.batch, count, *before.shape[2:]))
            output += tf.concat([before, zeros], axis=1)
            env.write(self.key("overlap"), output[:, count:])
            output = output[:, :count]
        if layer.use_bias:
            output += ops.convert_to_tensor(layer.bias)
        if layer.activation is not None:
            output = layer.activation(output)
        return Chunk(env.batch, count, full=output)


def pool_space(op: Any, window: tf.Tensor, kind: str) -> tf.Tensor:
    """Pool the axis behind time of (B, T, F, C), if the layer has one; largest and mean values separate by axis."""
    if len(op.pool_size) == 1:
        return window
    pool = tf.nn.max_pool2d if kind == "max" else tf.nn.avg_pool2d
    return pool(window, [1, op.pool_size[1]], [1, op.strides[1]], op.padding.upper())


class _Pooling(WindowRule):
    @property
    def geometry(self) -> tuple[int, int, str]:
        layer = self.call.op
        return layer.pool_size[0], layer.strides[0], layer.padding

    def _pool_time(self, window: tf.Tensor, kind: str) -> tf.Tensor:
        size, stride, _ = self.geometry
        pool = tf.nn.max_pool2d if kind == "max" else tf.nn.avg_pool2d
        planar = window if len(window.shape) == 4 else window[:, :, None]
        output = pool(planar, [size, 1], [stride, 1], "VALID")
        return output if len(window.shape) == 4 else tf.squeeze(output, 2)


@register(layers.MaxPooling1D, layers.MaxPooling2D)
class MaxPoolingRule(_Pooling):
    """The largest value in each window; positions that do not exist count as the lowest number."""

    padding_value = float(tf.float32.min)

    def compute(self, env: Env, window: tf.Tensor) -> tf.Tensor:
        return self._pool_time(pool_space(self.call.op, window, "max"), "max")


@register(layers.AveragePooling1D, layers.AveragePooling2D)
class AveragePoolingRule(_Pooling):
    """The mean of the elements that exist in each window."""

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
        output = self._pool_time(pool_space(self.call.op, window, "average"), "average")
        if not self.counted:
            return output
        _, stride, _ = self.geometry
        phase = self._line(self.call.signals[0]).first % stride
        share = self._pool_time(self.exists[:, phase : phase + window.shape[1]], "average")
        return output / expand_to(tf.maximum(share[:, :, 0], 1e-6), output)


@register(layers.UpSampling1D)
class UpSamplingRule(Rule):
    """Every step `size` times."""

    def plan(self) -> Signal:
        signal = self.sequence()
        assert signal.timeline is not None
        return self.result(timeline=signal.timeline.repeated(self.call.op.size), quiet=signal.quiet)

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        size, full = self.call.op.size, inputs.full
        tiled = tf.tile(full[:, :, None], [1, 1, size] + [1] * (len(full.shape) - 2))
        return Chunk(
            env.batch, inputs.steps * size, full=tf.reshape(tiled, (env.batch, inputs.steps * size, *full.shape[2:]))
        )


@register(layers.ZeroPadding1D)
class ZeroPaddingRule(Rule):
    """Zeros before the start and after the end.

    Those before the start lie before the stream: a convolution that follows finds them in its empty buffer, so that
    padding by hand costs no delay; before any other layer the planner delays the sequence to make room for them.
    """

    def plan(self) -> Signal:
        signal = self.sequence()
        before, after = self.call.op.padding
        line = signal.timeline
        assert line is not None
        if not signal.quiet and (line.first > 0 or after):
            self.valid_of.append(line)
        return self.result(timeline=line.shifted(-before, after), quiet=True)

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        return Chunk(env.batch, inputs.steps, full=self.zeroed(env, inputs, self.call.signals[0]))


@register(layers.Cropping1D)
class CroppingRule(Rule):
    """Without the first steps, and, held back until it is known that they are not, without the last."""

    def plan(self) -> Signal:
        signal = self.sequence()
        before, after = self.call.op.cropping
        assert signal.timeline is not None
        if after:
            self.states["held"] = StateSpec((after, *signal.shape))  # type: ignore[arg-type]
        return self.result(timeline=signal.timeline.shifted(before + after, 0))

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        if "held" not in self.states:
            return Chunk(env.batch, inputs.steps, full=inputs.full)
        line = tf.concat([env.read(self.key("held")), inputs.full], axis=1)
        env.write(self.key("held"), line[:, inputs.steps :])
        return Chunk(env.batch, inputs.steps, full=line[:, : inputs.steps])
