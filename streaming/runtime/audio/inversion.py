"""From log-mel features back to a signal: magnitudes by least squares, phases by Griffin and Lim."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.audio.features import LogMel

_UPDATES = 100
_TINY = 1e-12


def magnitudes(rows: NDArray[Any], definition: LogMel, updates: int = _UPDATES) -> NDArray[Any]:
    """Magnitudes (n, fft_length // 2 + 1) whose mel bands are nearest to those of log-mel features (n, num_mels).

        min over P >= 0 of |P F - E|^2,   E = exp(rows), F the filters, P = magnitudes ** power

    It begins with the pseudo-inverse without its negative values, and goes on by multiplicative updates (Lee and Seung
    2001), which keep P from becoming negative.

    Raises:
        InputError: the rows have another number of bands, or are no finite numbers.
    """
    bands = np.asarray(rows, np.float64)
    if bands.ndim != 2 or bands.shape[1] != definition.num_mels or not np.isfinite(bands).all():
        raise InputError(
            f"features have the shape {bands.shape}, expected finite numbers of the shape (n, {definition.num_mels})"
        )
    energies, filters = np.exp(bands), definition.filters()
    found = np.maximum(energies @ np.linalg.pinv(filters), _TINY)
    wanted = energies @ filters.T
    for _ in range(updates):
        found *= (wanted + _TINY) / (found @ filters @ filters.T + _TINY)
    return np.asarray(found ** (1 / definition.power))


def griffin_lim(
    spectrum: NDArray[Any], definition: LogMel, iterations: int = 60, momentum: float = 0.9, seed: int = 0
) -> NDArray[Any]:
    """A signal whose frames have nearly these magnitudes (Griffin and Lim 1984), from random phases on.

    In turn the signal is the one whose frames are nearest to the spectrum, and the phases are those of its frames; with
    momentum, they go further in the direction of the last change (Perraudin et al. 2013).

    Args:
        spectrum: magnitudes (n, fft_length // 2 + 1).
        definition: how the signal is cut into frames.
        iterations: 0 or more.
        momentum: 0 is the method of 1984.
        seed: of the first phases.

    Returns:
        Samples ((n - 1) * frame_step + frame_length,) of float64; none where there is no frame.
    """
    if not len(spectrum):
        return np.zeros(0)
    phases = np.exp(2j * np.pi * np.random.default_rng(seed).random(spectrum.shape))
    before = np.zeros_like(phases)
    for _ in range(iterations):
        frames = _frames(_signal(spectrum * phases, definition), definition)
        ahead = frames + momentum * (frames - before)
        phases, before = ahead / np.maximum(np.abs(ahead), _TINY), frames
    return _signal(spectrum * phases, definition)


def _frames(signal: NDArray[Any], definition: LogMel) -> NDArray[Any]:
    """The transforms (n, fft_length // 2 + 1) of the frames of a signal."""
    cut = np.lib.stride_tricks.sliding_window_view(signal, definition.frame_length)[:: definition.frame_step]
    return np.asarray(np.fft.rfft(cut * definition.window(), definition.fft_length, axis=-1))


def _signal(spectrum: NDArray[Any], definition: LogMel) -> NDArray[Any]:
    """The signal whose windowed frames are nearest to those of transforms, by least squares.

    x[i] = sum_t w[i - t S] y_t[i - t S] / sum_t w[i - t S]^2   (Griffin and Lim 1984, equation 6)
    """
    length, step, window = definition.frame_length, definition.frame_step, definition.window()
    frames = np.fft.irfft(spectrum, definition.fft_length, axis=-1)[:, :length]
    signal = np.zeros((len(frames) - 1) * step + length)
    weight = np.zeros_like(signal)
    for place, frame in enumerate(frames):
        signal[place * step : place * step + length] += window * frame
        weight[place * step : place * step + length] += window**2
    # At both ends the window is so small that a rounding error would become a click.
    return signal / np.maximum(weight, 1e-2)
