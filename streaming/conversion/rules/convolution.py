"""Convolutions over time, with or without further axes (frequency, height, width)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import layers, ops

from streaming.conversion.rules import register
from streaming.conversion.rules.base import Env, Rule
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


@register(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
class ConvTransposeRule(Rule):
    """Each step adds K outputs, S after those of the step before; what overlaps later steps is the state."""

    def plan(self) -> Signal:
        layer, signal = self.call.op, self.sequence()
        self.refuse_channels_first()
        if set(layer.dilation_rate) != {1} or layer.output_padding is not None:
            self.refuse("has dilation or output padding", "build it without them")
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
        return tuple(int(size) for size in self.call.results[0].shape[2:])

    def _crop_space(self, output: tf.Tensor, full: tf.Tensor) -> tf.Tensor:
        """Crops the axes behind time as `same` does: to as many places as input times stride."""
        layer = self.call.op
        if layer.padding != "same" or len(layer.kernel_size) == 1:
            return output
        index = [slice(None), slice(None)]
        for axis, (kernel, stride) in enumerate(zip(layer.kernel_size[1:], layer.strides[1:], strict=True), 2):
            left = max(kernel - stride, 0) // 2
            index.append(slice(left, left + full.shape[axis] * stride))
        return output[tuple(index)]

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        layer = self.call.op
        full = self.zeroed(env, inputs, self.call.signals[0])
        strides = list(layer.strides)
        output = ops.conv_transpose(full, ops.convert_to_tensor(layer.kernel), strides=strides, padding="valid")
        output = self._crop_space(output, full)
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
