"""Base of convolutions and poolings over time: a sliding window, and a buffer of the steps in it.

With K steps in the window, output j of a layer with stride S covers the elements j S - L ... j S - L + K - 1. L zeros
go before the start: K - 1 for `causal`, none for `valid`, and for `same` half of what TensorFlow pads. What a `same`
window sees of the future is the delay. A window ends at the newest step of the chunk, so the buffer is K - 1 long.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import tensorflow as tf

from streaming.conversion.rules.base import Env, Rule, expand_to
from streaming.conversion.signals import Signal, StateSpec, Timeline
from streaming.conversion.values import Chunk


class WindowRule(Rule):
    """A layer that slides a window over time."""

    padding_value = 0.0

    def starts_early(self) -> bool:
        """All windows must end at or after the first step."""
        size, _, padding = self.geometry
        return padding == "valid" and self.padding_value == 0.0 and self.sequence().timeline.first >= 1 - size  # type: ignore[union-attr]

    @property
    @abstractmethod
    def geometry(self) -> tuple[int, int, str]:
        """Steps K in the window (dilation included), stride S, padding."""

    @abstractmethod
    def compute(self, env: Env, window: tf.Tensor) -> tf.Tensor:
        """(B, (n - 1) S + K, ...) -> (B, n, ...), or (B, ...) for n = 1: the layer itself, not padded in time."""

    def plan(self) -> Signal:
        signal = self.sequence()
        self.refuse_channels_first()
        size, stride, padding = self.geometry
        line = self._line(signal)
        if size > 1:
            self.states["past"] = StateSpec((size - 1, *signal.shape), initial=self.padding_value)  # type: ignore[arg-type]
        quiet = signal.quiet and self.padding_value == 0.0
        if padding != "valid" and not quiet and line.first > 0:
            self.valid_of.append(_line_of(signal))
        if padding == "same" and stride > 1:
            self._same_stride(signal, size, stride)
        # Keras's convolutions and poolings drop masks.
        return self.result(timeline=line.strided(stride))

    def _line(self, signal: Signal) -> Timeline:
        """Ends of windows: the slots of the last element of every window, before striding."""
        size, stride, padding = self.geometry
        line = _line_of(signal)
        if padding == "valid":
            return line.shifted(size - 1, 0)
        if padding == "causal":
            return line
        left = max(size - stride, 0) // 2
        return line.delayed(size - 1 - left)

    def _same_stride(self, signal: Signal, size: int, stride: int) -> None:
        """TensorFlow pads by the length modulo the stride; the stream pads as for whole multiples."""
        left = max(size - stride, 0) // 2
        fitting = {rest for rest in range(1, stride) if max(size - rest, 0) // 2 == left} | {0}
        if len(fitting) < stride:
            line = _line_of(signal)
            self.exact_if.append(lambda steps: line.length(steps) % stride in fitting)
            rests = " or ".join(map(str, sorted(fitting)))
            self.notes.append(
                f"layer {self.call.name!r} pads 'same' with stride {stride}: exact where its input length modulo "
                f"{stride} is {rests}"
            )

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        size, stride, _ = self.geometry
        signal = self.call.signals[0]
        window = self.padded(env, inputs, signal)
        if size > 1:
            window = tf.concat([env.read(self.key("past")), window], axis=1)
            env.write(self.key("past"), window[:, inputs.steps :])
        count = inputs.steps // stride
        phase = self._line(signal).first % stride
        if phase or stride > 1:
            window = window[:, phase : phase + (count - 1) * stride + size]
        output = self.compute(env, window)
        flat = len(output.shape) == len(window.shape) - 1
        return Chunk(env.batch, count, **{"flat" if flat else "full": output})

    def padded(self, env: Env, inputs: Chunk, signal: Signal) -> tf.Tensor:
        """The full form with the padding value wherever the position does not exist."""
        if signal.timeline not in self.valid_of:
            return inputs.full
        full = inputs.full
        valid = env.valid(_line_of(signal))
        return tf.where(expand_to(valid, full), full, tf.fill(full.shape, self.padding_value))


def _line_of(signal: Signal) -> Timeline:
    assert signal.timeline is not None
    return signal.timeline


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis of known size, as TensorFlow pads `same`."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
