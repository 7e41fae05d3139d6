"""Log-mel features of a signal, one definition for the device, for training and for the layer in the graph."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.carried import Carrier

_MELS = ("htk", "slaney")
_NORMS = (None, "slaney")
# Frames that are transformed at once.
_ROWS = 256
# Slaney's scale (Auditory Toolbox, 1998): linear up to 1 kHz, then 27 steps for each factor of 6.4.
_SLANEY_HZ, _SLANEY_BREAK, _SLANEY_LOG = 200 / 3, 1000.0, math.log(6.4) / 27


@dataclass(frozen=True)
class LogMel:
    """log(max(power spectrum in mel bands, floor)), as librosa 0.11 defines the parts.

    Frame t covers the samples [t * frame_step, t * frame_step + frame_length), so that it is complete with its last
    sample. It is weighted by a periodic Hann window, padded with zeros to fft_length, and transformed; the magnitudes,
    raised to the given power, are summed in bands with triangular weights, linear in Hz.

    Args:
        sample_rate: samples a second.
        frame_length: samples of a frame.
        frame_step: samples between the beginnings of two frames.
        fft_length: length of the transform, `frame_length` or more.
        num_mels: bands, the features of a frame.
        low_hz: where the first band begins.
        high_hz: where the last band ends; at most half the sample rate.
        scale: "htk" or "slaney", the mel scale on which the bands are equally spaced.
        norm: "slaney" gives each triangle the same area; None the same height, 1.
        power: 2 for energies, 1 for magnitudes.
        floor: smaller sums are raised to this value before the logarithm.
        center: put frame t around sample t * frame_step: half a frame of zeros comes before and after the signal.

    Raises:
        InputError: a parameter is out of range.
    """

    sample_rate: int = 16_000
    frame_length: int = 400
    frame_step: int = 160
    fft_length: int = 512
    num_mels: int = 40
    low_hz: float = 20.0
    high_hz: float = 8_000.0
    scale: str = "htk"
    norm: str | None = None
    power: float = 2.0
    floor: float = 1e-6
    center: bool = False

    def __post_init__(self) -> None:
        sizes = (self.sample_rate, self.frame_length, self.frame_step, self.num_mels)
        if min(sizes) < 1 or self.fft_length < self.frame_length:
            raise InputError(
                f"log-mel features with sample_rate, frame_length, frame_step, num_mels {sizes} and fft_length "
                f"{self.fft_length}: expected 1 or more, and fft_length no smaller than frame_length"
            )
        if not 0 <= self.low_hz < self.high_hz <= self.sample_rate / 2:
            raise InputError(
                f"mel bands from {self.low_hz} to {self.high_hz} Hz: expected 0 <= low < high <= {self.sample_rate / 2}"
            )
        if self.scale not in _MELS or self.norm not in _NORMS:
            raise InputError(
                f"mel scale {self.scale!r} with norm {self.norm!r}: expected htk or slaney, and slaney or None"
            )
        if not (self.power > 0 and self.floor > 0):
            raise InputError(f"power is {self.power} and floor {self.floor}: expected more than 0")

    def window(self) -> NDArray[Any]:
        """The periodic Hann window, (frame_length,) of float64."""
        return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.frame_length) / self.frame_length)

    def filters(self) -> NDArray[Any]:
        """The weights of the mel bands, (fft_length // 2 + 1, num_mels) of float64."""
        low, high = hz_to_mel(np.array([self.low_hz, self.high_hz]), self.scale)
        edges = mel_to_hz(np.linspace(low, high, self.num_mels + 2), self.scale)
        bins = np.arange(self.fft_length // 2 + 1) * (self.sample_rate / self.fft_length)
        rise = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
        fall = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
        weights = np.maximum(0.0, np.minimum(rise, fall))
        return weights * (2.0 / (edges[2:] - edges[:-2])) if self.norm == "slaney" else weights

    def frames(self, samples: int) -> int:
        """The number of frames of a signal of that many samples."""
        padded = samples + 2 * self._edge if samples else 0
        return max(0, (padded - self.frame_length) // self.frame_step + 1)

    def __call__(self, samples: NDArray[Any]) -> NDArray[Any]:
        """All frames of a signal: (N,) -> (frames(N), num_mels) of float32.

        Raises:
            InputError: the samples are not one row of numbers.
        """
        front = LogMelStream(self)
        return np.concatenate([front.feed(samples), front.finish()])

    def features(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Features of frames (n, frame_length) of any signals -> (n, num_mels) of float32.

        A row depends on its frame alone, bit for bit, so that frames of many streams can be given together.
        """
        window, bins, weights = _tables(self)
        parts = [np.zeros((0, self.num_mels), np.float32)]
        for begin in range(0, len(frames), _ROWS):
            spectrum = np.abs(np.fft.rfft(frames[begin : begin + _ROWS] * window, self.fft_length, axis=-1))
            # A matrix product would add in an order that depends on the number of rows.
            bands = ((spectrum**self.power)[:, bins] * weights).sum(axis=-1)
            parts.append(np.log(np.maximum(bands, self.floor)).astype(np.float32))
        return np.concatenate(parts) if len(parts) != 2 else parts[1]

    @property
    def _edge(self) -> int:
        return self.frame_length // 2 if self.center else 0


@functools.lru_cache(maxsize=32)
def _tables(definition: LogMel) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The window (frame_length,), and for each band its bins and their weights, (num_mels, widest band)."""
    filters = definition.filters()
    inside = filters > 0
    widest = max(1, int(inside.sum(axis=0).max()))
    first = np.minimum(inside.argmax(axis=0), len(filters) - widest)
    bins = first[:, None] + np.arange(widest)
    return definition.window(), bins, filters[bins, np.arange(definition.num_mels)[:, None]]


class LogMelStream(Carrier):
    """The same frames from a signal that comes in blocks of any size.

    Args:
        definition: what a frame is.
    """

    carries = ("_held", "_skip")

    def __init__(self, definition: LogMel):
        self.definition = definition
        self.reset()

    def reset(self) -> None:
        """Forget the signal."""
        self._held: NDArray[Any] | None = None
        self._skip = 0

    def feed(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Take any number of samples: (N,) -> (frames that are complete, num_mels) of float32.

        Raises:
            InputError: the samples are not one row of numbers.
        """
        return self.definition.features(self.cut(samples))

    def cut(self, samples: NDArray[Any]) -> NDArray[Any]:
        """`feed` up to the frames (n, frame_length), for `LogMel.features`."""
        samples = as_samples(samples)
        if self._held is None:
            if not samples.size:
                return np.zeros((0, self.definition.frame_length))
            self._held = np.zeros(self.definition._edge)
        return self._advance(samples)

    def finish(self) -> NDArray[Any]:
        """The frames that needed the end of the signal; only centred ones do."""
        rest = np.zeros(0 if self._held is None else self.definition._edge)
        rows = self.definition.features(self._advance(rest))
        self.reset()
        return rows

    def _advance(self, samples: NDArray[Any]) -> NDArray[Any]:
        length, step = self.definition.frame_length, self.definition.frame_step
        signal = np.concatenate([samples[:0] if self._held is None else self._held, samples])
        # Where frames are further apart than they are long, some samples belong to none.
        skipped = min(self._skip, len(signal))
        signal, self._skip = signal[skipped:], self._skip - skipped
        count = max(0, (len(signal) - length) // step + 1)
        begin = count * step
        self._skip += max(0, begin - len(signal))
        if self._held is not None:
            self._held = signal[begin:].copy()
        if not count:
            return np.zeros((0, length))
        return np.lib.stride_tricks.sliding_window_view(signal, length)[:begin:step]


def as_samples(samples: NDArray[Any]) -> NDArray[Any]:
    """A block of a signal as float64, (N,); whole numbers are scaled by their type's range to -1 .. 1.

    Raises:
        InputError: it is not one row of finite numbers.
    """
    block = np.asarray(samples)
    if block.ndim != 1 or (block.size and block.dtype.kind not in "fi"):
        raise InputError(
            f"audio is {block.dtype} of shape {block.shape}, expected one row of numbers; mix channels down first"
        )
    if block.dtype.kind == "i":
        return block / -float(np.iinfo(block.dtype).min)
    values = block.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError("audio holds NaN or infinity, expected finite numbers; clean it")
    return values


def hz_to_mel(hz: NDArray[Any], scale: str) -> NDArray[Any]:
    """Frequencies on the mel scale "htk" (O'Shaughnessy 1987) or "slaney" (Auditory Toolbox 1998)."""
    hz = np.asarray(hz, np.float64)
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    above = np.log(np.maximum(hz, _SLANEY_BREAK) / _SLANEY_BREAK) / _SLANEY_LOG
    return np.minimum(hz, _SLANEY_BREAK) / _SLANEY_HZ + above


def mel_to_hz(mel: NDArray[Any], scale: str) -> NDArray[Any]:
    """The inverse of `hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    knee = _SLANEY_BREAK / _SLANEY_HZ
    return np.minimum(mel, knee) * _SLANEY_HZ * np.exp(_SLANEY_LOG * np.maximum(mel - knee, 0.0))
