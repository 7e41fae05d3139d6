"""Padding, cropping, slicing and repeating: layers that change which positions a sequence has."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import layers

from streaming._compat import numpy_operations
from streaming.conversion.rules import register
from streaming.conversion.rules.base import Env, Rule
from streaming.conversion.rules.pointwise import PerStep
from streaming.conversion.signals import Signal
from streaming.conversion.values import Chunk


@register(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)
class PaddingRule(Rule):
    """Zeros before the start and after the end, and around the axes behind time.

    A convolution that follows finds the zeros before the start in its empty buffer, so that padding by hand costs no
    delay. Before any other layer the planner delays the sequence to make room for them.
    """

    @property
    def pads(self) -> list[tuple[int, int]]:
        """Zeros before and after each axis after the batch, time first."""
        padding = self.call.op.padding
        return [padding] if isinstance(padding[0], int) else [tuple(pair) for pair in padding]

    def plan(self) -> Signal:
        signal = self.sequence()
        self.refuse_channels_first()
        before, after = self.pads[0]
        line = signal.timeline
        assert line is not None
        if not signal.quiet and (line.first > 0 or after):
            self.valid_of.append(line)
        return self.result(timeline=line.shifted(-before, after), quiet=True)

    def step(self, env: Env, inputs: Chunk, *args: Any, **kwargs: Any) -> Chunk:
        full = self.zeroed(env, inputs, self.call.signals[0])
        if any(self.pads[1:]):
            beside = [list(pair) for pair in self.pads[1:]]
            full = tf.pad(full, [[0, 0], [0, 0], *beside, *[[0, 0]] * (len(full.shape) - 2 - len(beside))])
        return Chunk(env.batch, inputs.steps, full=full)


@register(numpy_operations.Pad)
class PadOperation(PerStep):
    """Pads time with zeros, as the layers do, and features with any value."""

    _time: PaddingRule | None = None

    @property
    def _widths(self) -> list[tuple[int, int]]:
        width = [tuple(pair) for pair in self.call.op.pad_width]
        return width if len(width) > 1 else width * len(self.call.signals[0].offline_shape)

    def plan(self) -> Any:
        if not self.call.signals[0].sequence or not any(self._widths[1]):
            return super().plan()
        self._time = _PadAlongTime(self.call)
        outputs = self._time.plan()
        self.valid_of = self._time.valid_of
        return outputs

    def check(self) -> None:
        if any(self._widths[0]):
            self.refuse("pads the batch axis", "give pad_width a pair for each axis, (0, 0) for the batch")

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Any:
        return super().step(env, *args, **kwargs) if self._time is None else self._time.step(env, *args, **kwargs)


class _PadAlongTime(PaddingRule):
    @property
    def pads(self) -> list[tuple[int, int]]:
        return [tuple(pair) for pair in self.call.op.pad_width[1:]]

    def plan(self) -> Signal:
        value = self.call.kwargs.get("constant_values", self.call.args[1] if len(self.call.args) > 1 else None)
        batch, *_ = self.call.op.pad_width
        if self.call.op.mode != "constant" or value not in (None, 0) or any(batch) or not self.pads:
            self.refuse("pads along time with other values than zeros, or the batch", "pad time with zeros")
        if self.call.signals[0].dtype != "float32":
            self.refuse(f"pads a sequence of {self.call.signals[0].dtype} along time", "pad it once it is float32")
        return super().plan()


@register(layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
class CroppingRule(Rule):
    """Drops the first and the last steps; each step is held back until it is known not to be one of the last."""

    @property
    def cuts(self) -> tuple[int, int, int]:
        """Steps cut at the start and at the end, and the stride between those that are left."""
        cropping = self.call.op.cropping
        return (*(cropping if isinstance(cropping[0], int) else cropping[0]), 1)

    @property
    def beside(self) -> tuple[Any, ...]:
        """The index of the axes behind time."""
        cropping = self.call.op.cropping
        pairs = [] if isinstance(cropping[0], int) else cropping[1:]
        return tuple(slice(before, -after or None) for before, after in pairs)

    def starts_early(self) -> bool:
        line, (before, after, _) = self.sequence().timeline, self.cuts
        assert line is not None
        return line.first + before + after >= 0

    def plan(self) -> Signal:
        signal = self.sequence()
        self.refuse_channels_first()
        before, after, stride = self.cuts
        if after:
            self.hold("held", after, signal)
        assert signal.timeline is not None
        return self.result(timeline=signal.timeline.shifted(before + after, 0).strided(stride))

    def step(self, env: Env, inputs: Chunk, *args: Any, **kwargs: Any) -> Chunk:
        before, after, stride = self.cuts
        full = self.held_back(env, "held", inputs.full) if after else inputs.full
        line = self.call.signals[0].timeline
        assert line is not None
        phase = line.shifted(before + after, 0).first % stride
        index = (slice(None), slice(phase, None, stride) if stride > 1 else slice(None), *self.beside)
        return Chunk(env.batch, inputs.steps // stride, full=full[index] if self.beside or stride > 1 else full)


class SlicingRule(CroppingRule):
    """x[:, a:-b:s] is a cropping with a stride."""

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.call.args[1] if len(self.call.args) > 1 else self.call.kwargs["key"]

    @staticmethod
    def takes(key: Any) -> bool:
        """Whether an index along time selects steps by their distance from the start and from the end."""
        return (
            isinstance(key, slice)
            and all(item is None or isinstance(item, int) for item in (key.start, key.stop, key.step))
            and (key.start or 0) >= 0
            and (key.stop is None or key.stop < 0)
            and (key.step or 1) >= 1
        )

    @property
    def cuts(self) -> tuple[int, int, int]:
        key = self._key[1]
        return key.start or 0, -(key.stop or 0), key.step or 1

    @property
    def beside(self) -> tuple[Any, ...]:
        return self._key[2:]


@register(layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
class UpSamplingRule(Rule):
    """Repeats every step `size` times, and likewise the axes after time."""

    @property
    def _sizes(self) -> tuple[int, ...]:
        size = self.call.op.size
        return (size,) if isinstance(size, int) else tuple(size)

    def plan(self) -> Signal:
        signal = self.sequence()
        self.refuse_channels_first()
        if getattr(self.call.op, "interpolation", "nearest") != "nearest":
            self.refuse("interpolates between steps over the whole length", "build it with interpolation='nearest'")
        assert signal.timeline is not None
        return self.result(timeline=signal.timeline.repeated(self._sizes[0]), quiet=signal.quiet)

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        full = inputs.full
        for axis, times in enumerate(self._sizes, 1):
            full = _repeat(full, axis, times)
        return Chunk(env.batch, inputs.steps * self._sizes[0], full=full)


def _repeat(value: tf.Tensor, axis: int, times: int) -> tf.Tensor:
    if times == 1:
        return value
    shape = list(value.shape)
    tiles = [1] * (len(shape) + 1)
    tiles[axis + 1] = times
    tiled = tf.tile(tf.expand_dims(value, axis + 1), tiles)
    return tf.reshape(tiled, [*shape[:axis], shape[axis] * times, *shape[axis + 1 :]])
