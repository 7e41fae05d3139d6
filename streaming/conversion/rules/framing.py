"""Signal front ends: frames of samples, their spectra, and overlap-add of frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from streaming._compat import math_operations, numpy_operations
from streaming.conversion.rules.base import Call, Env, Rule
from streaming.conversion.rules.separable import Builder
from streaming.conversion.rules.window import WindowRule
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.values import Chunk
from streaming.errors import NotStreamableError


def framing(call: Call, build: Builder) -> list[Signal] | None:
    """The signals of the outputs of a call that cuts frames or joins them, None for any other."""
    signals = call.signals
    if len(signals) != 1 or not signals[0].sequence or signals[0].terms:
        return None
    signal, op = signals[0], call.op
    samples = signal.layout is None and not signal.shape and signal.dtype == "float32"
    if isinstance(op, math_operations.ExtractSequences) and samples:
        return [_frames(build, signal, op.sequence_length, op.sequence_stride)]
    if isinstance(op, math_operations.STFT) and samples:
        return _stft(build, signal, op)
    if isinstance(op, layers.MelSpectrogram) and samples:
        return [_mel(call, build, signal)]
    if isinstance(op, layers.Reshape | numpy_operations.Reshape) and signal.layout is None:
        folded = _refolded(call, build, signal)
        return None if folded is None else [folded]
    return None


def _frames(build: Builder, signal: Signal, length: int, stride: int) -> Signal:
    """(B, T) -> (B, frames, length)."""
    call = build.part("frames", (signal,))
    return build.add(FrameRule(call, length, stride, (length,)), (signal,))


def _stft(build: Builder, signal: Signal, op: Any) -> list[Signal]:
    if op.center:
        signal = _reflected(build, signal, op.fft_length // 2)
    frames = _frames(build, signal, op.fft_length, op.sequence_stride)
    window = _window(op)
    parts = (0, 1)
    return [
        build.compute("part", lambda x, part=part: keras.ops.rfft(x * window, op.fft_length)[part], frames)
        for part in parts
    ]


def _window(op: Any) -> tf.Tensor:
    """The window of a short-time Fourier transform, in the middle of its FFT, as Keras lays it."""
    size = op.sequence_length
    if op.window is None:
        return tf.ones(op.fft_length)
    functions: dict[str, Callable[..., Any]] = {"hann": tf.signal.hann_window, "hamming": tf.signal.hamming_window}
    window = functions[op.window](size, periodic=True) if isinstance(op.window, str) else tf.constant(op.window)
    before = (op.fft_length - size) // 2
    return tf.constant(tf.pad(tf.cast(window, tf.float32), [[before, op.fft_length - size - before]]).numpy())


def _mel(call: Call, build: Builder, signal: Signal) -> Signal:
    op = call.op
    if op.power_to_db:
        raise NotStreamableError(
            f"layer {call.name!r} ({call.kind}) measures decibels against the loudest of the whole recording; "
            "build it with power_to_db=False and take the logarithm behind it"
        )
    reflected = _reflected(build, signal, op.fft_length // 2)
    frames = _frames(build, reflected, op.fft_length, op.sequence_stride)
    bins = op.fft_length // 2 + 1
    matrix = op.linear_to_mel_weight_matrix(
        op.num_mel_bins, bins, op.sampling_rate, lower_edge_hertz=op.min_freq, upper_edge_hertz=op.max_freq
    )
    filters, window = tf.constant(keras.ops.convert_to_numpy(matrix)), _window(op)

    def function(x: tf.Tensor) -> tf.Tensor:
        real, imaginary = keras.ops.rfft(x * window, op.fft_length)
        power = tf.square(real) + tf.square(imaginary)
        spectrum = power if op.mag_exp == 2 else tf.pow(tf.sqrt(power), op.mag_exp)
        return tf.transpose(tf.matmul(spectrum, filters), [0, 2, 1])

    return build.compute("mel", function, frames, time_axis=2)


def _reflected(build: Builder, signal: Signal, pad: int) -> Signal:
    if not pad:
        return signal
    return build.add(ReflectionRule(build.part("reflected", (signal,)), pad), (signal,))


def _refolded(call: Call, build: Builder, signal: Signal) -> Signal | None:
    """(B, T, k, ...) as (B, T k, ...), or (B, T k, ...) as (B, T, k, ...): steps cut in parts, or put together."""
    shape = tuple(call.results[0].shape)
    unknown = [axis for axis, size in enumerate(shape) if size is None]
    if len(shape) < 2 or unknown != [0, 1]:
        return None
    before, after = math.prod(signal.shape), math.prod(shape[2:])  # type: ignore[arg-type]
    if before == after:
        return None
    part = build.part("refolded", (signal,))
    if before % after == 0:
        return build.add(UnfoldRule(part, before // after, shape[2:]), (signal,))
    if after % before == 0:
        return build.add(FrameRule(part, after // before, after // before, shape[2:], whole=True), (signal,))
    return None


class FrameRule(WindowRule):
    """K steps as one, every S steps: (B, T, ...) -> (B, frames, *shape), of which one frame has K steps.

    whole: of a reshape, which takes whole multiples of K alone.
    """

    def __init__(self, call: Call, length: int, stride: int, shape: Any, whole: bool = False) -> None:
        super().__init__(call)
        self.length, self.stride, self.shape, self.whole = length, stride, tuple(shape), whole

    @property
    def geometry(self) -> tuple[int, int, str]:
        return self.length, self.stride, "valid"

    def plan(self) -> Signal:
        line = self.call.signals[0].timeline
        assert line is not None
        if self.whole:
            self.exact_if.append(lambda steps: line.length(steps) % self.length == 0)
        return super().plan()

    def refuse_channels_first(self) -> None:
        """An operation has no data format."""

    def result(self, index: int = 0, **changes: Any) -> Signal:
        signal = self.call.signals[0]
        return replace(signal, name=self.call.name, shape=self.shape, quiet=False, origin=None, **changes)

    def compute(self, env: Env, window: tf.Tensor) -> tf.Tensor:
        count = (window.shape[1] - self.length) // self.stride + 1
        if self.length == self.stride:
            return tf.reshape(window, (env.batch, count, *self.shape))
        places = [[start * self.stride + step for step in range(self.length)] for start in range(count)]
        rows = tf.gather(window, tf.constant(places), axis=1) if count > 1 else window[:, None]
        return tf.reshape(rows, (env.batch, count, *self.shape))


class UnfoldRule(Rule):
    """Splits every step into k steps: (B, T, k, ...) -> (B, T k, ...)."""

    def __init__(self, call: Call, times: int, shape: Any) -> None:
        super().__init__(call)
        self.times, self.shape = times, tuple(shape)

    def plan(self) -> Signal:
        signal = self.call.signals[0]
        assert signal.timeline is not None
        line = signal.timeline.repeated(self.times)
        return replace(signal, name=self.call.name, shape=self.shape, timeline=line, origin=None)

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        steps = inputs.steps * self.times
        return Chunk(env.batch, steps, full=tf.reshape(inputs.full, (env.batch, steps, *self.shape)))


class ReflectionRule(Rule):
    """P steps mirrored before the first and after the last step: x[P] ... x[1], x[0] ... x[T - 1], x[T - 2] ....

    The first of them is known after P steps, so that all others come 2 P steps late. At slot r, counted from the first
    step, the mirrored beginning is x[2 P - r], the middle x[r - 2 P], and the mirrored end, of the e-th slot behind the
    last step, x[r - 2 (e - P)].
    """

    def __init__(self, call: Call, pad: int) -> None:
        super().__init__(call)
        self.pad = pad

    def plan(self) -> Signal:
        signal = self.call.signals[0]
        line = signal.timeline
        assert line is not None
        self.states["past"] = StateSpec((4 * self.pad, *signal.shape))  # type: ignore[arg-type]
        self.states["slot"] = StateSpec((1,), "int32")
        self.states["ended"] = StateSpec((1,), "int32")
        self.valid_of.append(line)
        self.exact_if.append(lambda steps: line.length(steps) > self.pad)
        shifted = line.shifted(self.pad, 3 * self.pad)
        return replace(signal, name=self.call.name, timeline=shifted, quiet=False, origin=None)

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        line, pad, steps = self.call.signals[0].timeline, self.pad, inputs.steps
        assert line is not None
        slot, ended = env.read(self.key("slot")), env.read(self.key("ended"))
        place = slot + tf.range(steps, dtype=tf.int32)[None] - line.first
        over = tf.logical_and(tf.logical_not(env.valid(line)), place >= 0)
        behind = ended + tf.cumsum(tf.cast(over, tf.int32), axis=1)
        age = tf.where(place < 2 * pad, 2 * (place - pad), tf.where(behind > 2 * pad, 2 * (behind - pad), 2 * pad))
        past = tf.concat([env.read(self.key("past")), inputs.full], axis=1)
        index = 4 * pad + tf.range(steps, dtype=tf.int32)[None] - age
        index = tf.clip_by_value(index, 0, past.shape[1] - 1)
        if env.batch == 1:
            full = tf.gather(past, index[0], axis=1)
        else:
            full = tf.gather(past, index, axis=1, batch_dims=1)
        env.write(self.key("past"), past[:, steps:])
        env.write(self.key("slot"), slot + steps)
        env.write(self.key("ended"), behind[:, -1:])
        return Chunk(env.batch, steps, full=full)
