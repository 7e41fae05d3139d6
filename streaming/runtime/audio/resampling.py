"""Changes the sample rate of a signal, block by block."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.audio.features import as_samples

_CROSSINGS = 32  # of the sinc on each side
_ROLLOFF = 0.94  # of the smaller half rate: what lies above would fold back
_BETA = 10.0  # of the Kaiser window: side lobes at -100 dB
_MAX_PHASES = 100_000


class Resampler:
    """Band-limited interpolation with a Kaiser-windowed sinc (Smith, "Digital Audio Resampling"), block by block.

    Args:
        source: samples a second of the signal.
        target: samples a second of the output.

    Raises:
        InputError: a rate is not a positive integer, or the reduced ratio has too large terms.
    """

    def __init__(self, source: int, target: int):
        if source < 1 or target < 1:
            raise InputError(f"sample rates {source} and {target}: expected whole numbers, 1 or more")
        divisor = math.gcd(source, target)
        self._up, self._down = target // divisor, source // divisor
        scale = min(1.0, target / source) * _ROLLOFF
        self._half = math.ceil(_CROSSINGS / scale)
        if self._up * self._half > _MAX_PHASES * _CROSSINGS:
            raise InputError(
                f"{source} to {target} samples a second: the ratio has no small terms; choose another rate"
            )
        offsets = np.arange(1 - self._half, self._half + 1) - np.arange(self._up)[:, None] / self._up
        inside = np.clip(1.0 - (offsets / self._half) ** 2, 0.0, None)
        kernel = np.sinc(offsets * scale) * np.i0(_BETA * np.sqrt(inside))
        self._kernel = kernel / kernel.sum(axis=1, keepdims=True)
        self.reset()

    def reset(self) -> None:
        """Forget the signal."""
        self._held = np.zeros(self._half - 1)
        self._taken = self._given = 0
        # Position of the first held sample.
        self._origin = 1 - self._half

    def feed(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Take any number of samples (N,); gives those that are ready, of float64.

        Raises:
            InputError: the samples are not one row of numbers.
        """
        samples = as_samples(samples)
        self._taken += len(samples)
        return self._advance(samples, self._taken - 1 - self._half)

    def finish(self) -> NDArray[Any]:
        """The rest, up to the end of the signal: N samples become ceil(N * target / source)."""
        rest = self._advance(np.zeros(self._half), self._taken - 1)
        self.reset()
        return rest

    def _advance(self, samples: NDArray[Any], last: int) -> NDArray[Any]:
        """Samples of the output up to input position `last`; output m lies at m * down / up."""
        signal = np.concatenate([self._held, samples])
        end = max(self._given, -(-(last + 1) * self._up // self._down))
        places = np.arange(self._given, end) * self._down
        bases, phases = places // self._up, places % self._up
        first = bases + 1 - self._half - self._origin
        windows = np.lib.stride_tricks.sliding_window_view(signal, 2 * self._half)
        outputs = np.zeros(len(first))
        # Outputs `up` apart have one phase, and lie `down` apart in the signal: their windows are a view.
        for i in range(min(self._up, len(first))):
            part = outputs[i :: self._up]
            part[:] = windows[first[i] :: self._down][: len(part)] @ self._kernel[phases[i]]
        self._given = end
        keep = end * self._down // self._up + 1 - self._half - self._origin
        self._held, self._origin = signal[keep:], self._origin + keep
        return outputs


def resample(samples: NDArray[Any], source: int, target: int) -> NDArray[Any]:
    """A whole signal at another rate: (N,) -> (ceil(N * target / source),) of float64."""
    made = Resampler(source, target)
    return np.concatenate([made.feed(samples), made.finish()])
