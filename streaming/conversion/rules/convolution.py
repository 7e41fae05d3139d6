"""Convolution over time: a ring buffer of the inputs that the kernel still sees."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import layers, ops

from streaming.conversion.rules import register
from streaming.conversion.rules.base import Env, Rule
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.values import Chunk


@register(layers.Conv1D)
class Conv1DRule(Rule):
    """Causal convolution: y[t] = sum_k kernel[k] x[t - (K - 1 - k) * dilation], zeros before the start."""

    def plan(self) -> Signal:
        layer, signal = self.call.op, self.call.signals[0]
        if not signal.sequence:
            self.refuse("convolves something that is no sequence of the stream", "give it an input (B, T, D)")
        if layer.padding != "causal":
            self.refuse(
                f"has padding {layer.padding!r}, which reads ahead or drops the edge steps",
                "build it with padding='causal'",
            )
        if layer.strides != (1,):
            self.refuse(f"has stride {layer.strides[0]}, which changes the rate", "build it with strides=1")
        if layer.data_format != "channels_last":
            self.refuse("has its channels before time", "build it with data_format='channels_last'")
        if self._past:
            self.states["past"] = StateSpec((self._past, *signal.shape))  # type: ignore[arg-type]
        if self._past and signal.timeline and signal.timeline.start > 0 and not signal.quiet:
            self.valid_of.append(signal.timeline)
        # Keras's convolutions drop masks.
        return self.result()

    @property
    def _past(self) -> int:
        return (self.call.op.kernel_size[0] - 1) * self.call.op.dilation_rate[0]

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        layer = self.call.op
        window = self.zeroed(env, inputs, self.call.signals[0])
        if self._past:
            window = tf.concat([env.read(self.key("past")), window], axis=1)
            env.write(self.key("past"), window[:, inputs.steps :])
        kernel = ops.convert_to_tensor(layer.kernel)
        if inputs.steps == 1 and env.fused and layer.groups == 1:
            taps = window[:, :: layer.dilation_rate[0]]
            size = taps.shape[1] * taps.shape[2]
            output = tf.matmul(tf.reshape(taps, (inputs.batch, size)), tf.reshape(kernel, (size, layer.filters)))
        else:
            output = tf.nn.conv1d(window, kernel, 1, "VALID", dilations=layer.dilation_rate[0])
        if layer.use_bias:
            output += ops.convert_to_tensor(layer.bias)
        if layer.activation is not None:
            output = layer.activation(output)
        form = {"flat" if len(output.shape) == 2 else "full": output}
        return inputs.like(keep_mask=False, **form)
