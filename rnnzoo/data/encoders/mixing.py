"""Sounds as a microphone in a room hears them: rooms, noise at a chosen level, loudness; all drawn by a generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.audio import stretched

# Frames of this length in seconds are loud down to so many dB below the peak, and so far above the quiet part.
_FRAME, _BELOW_PEAK, _ABOVE_QUIET = 0.01, 25.0, 10.0
# Loud parts that are no further apart, in seconds, are one.
_GAP = 0.2
# Reverberation: seconds until it has fallen by 60 dB, and the ratio of direct to reflected sound in dB.
_REVERBERATION, _DIRECT = (0.1, 0.7), (-3.0, 12.0)
_QUIET = 1e-10
# Frequencies in Hz between which an equalizer has so many points, and those outside have what the nearest has.
_BAND, _POINTS = (100.0, 8000.0), 7
# Noise that comes and goes: times a second; the share of a period that it is loud, or how fast a beat dies away in it;
# the level between beats in dB.
_BEATS, _LOUD, _DECAY, _BETWEEN = (0.3, 25.0), (0.05, 0.7), (1.0, 30.0), (-60.0, -10.0)


def speech_span(samples: NDArray[np.float32], sample_rate: int) -> tuple[int, int]:
    """Where the word in a recording (N,) begins and ends, in samples: its loud part with the most energy.

    All of the recording where nothing stands out.
    """
    size = max(1, int(_FRAME * sample_rate))
    count = len(samples) // size
    if count < 3:
        return 0, len(samples)
    energies = np.mean(np.square(samples[: count * size].reshape(count, size), dtype=np.float64), axis=1)
    levels = 10 * np.log10(np.convolve(energies, np.ones(3) / 3, "same") + _QUIET)
    peak, quiet = float(levels.max()), float(np.percentile(levels, 10))
    loud = np.flatnonzero(levels >= max(peak - _BELOW_PEAK, min(quiet + _ABOVE_QUIET, peak - 3)))
    parts = np.split(loud, np.flatnonzero(np.diff(loud) > _GAP / _FRAME) + 1)
    best = max(parts, key=lambda part: energies[part].sum())
    return int(best[0]) * size, min(len(samples), (int(best[-1]) + 1) * size)


def in_room(samples: NDArray[np.float32], sample_rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A recording (N,) as it sounds some way off in a room: the direct sound and a tail of noise that dies away.

    Its loudness stays; the tail beyond the end of the recording is cut off (Polack 1988, "La transmission de l'énergie
    sonore dans les salles").
    """
    seconds, direct = rng.uniform(*_REVERBERATION), rng.uniform(*_DIRECT)
    time = np.arange(1, int(seconds * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    tail *= 10 ** (-direct / 20) / np.sqrt(np.sum(tail**2) + _QUIET)
    size = 1 << (len(samples) + len(tail)).bit_length()
    heard = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft([1.0, *tail], size), size)[: len(samples)]
    return (heard * np.sqrt(power(samples) / (power(heard) + _QUIET))).astype(np.float32)


def equalized(
    samples: NDArray[np.float32], sample_rate: int, most: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A recording (N,) through a microphone and a room that raise or lower parts of its spectrum by up to `most` dB.

    Its loudness stays; the gains are linear in dB between points at equal ratios of frequency.
    """
    gains = rng.uniform(-most, most, _POINTS)
    frequencies = np.fft.rfftfreq(len(samples), 1 / sample_rate)
    curve = np.interp(np.log(frequencies + 1), np.log(np.geomspace(*_BAND, _POINTS)), gains)
    heard = np.fft.irfft(np.fft.rfft(samples) * 10 ** (curve / 20), len(samples))
    return (heard * np.sqrt(power(samples) / (power(heard) + _QUIET))).astype(np.float32)


def pulsating(samples: NDArray[np.float32], sample_rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A sound (N,) that comes and goes, evenly or by chance, as machines, waves and drops do; its loudness stays."""
    period = sample_rate / np.exp(rng.uniform(*np.log(_BEATS)))
    count = int(len(samples) / period) + 2
    gaps = np.full(count, period) if rng.random() < 0.5 else rng.exponential(period, count)
    begins = np.concatenate([[0.0], np.cumsum(gaps)]) - rng.uniform(0, period)
    times = np.arange(len(samples))
    since = (times - begins[np.searchsorted(begins, times, "right") - 1]) / period
    beat = np.exp(-since * rng.uniform(*_DECAY)) if rng.random() < 0.5 else since < rng.uniform(*_LOUD)
    heard = samples * (beat + decibels(rng, _BETWEEN))
    return (heard * np.sqrt(power(samples) / (power(heard) + _QUIET))).astype(np.float32)


def noise_bed(
    count: int, clips: Sequence[NDArray[np.float32]], rng: np.random.Generator, speed: float = 0.0
) -> NDArray[np.float32]:
    """So many samples (N,) of one sort of noise, with a power of 1: a recording played on and on, or coloured noise.

    Without recordings, and in a quarter of the cases, it is noise whose spectrum falls by 0 to 12 dB an octave. The
    recording is played faster or slower by up to the share `speed`.
    """
    if clips and rng.random() < 0.75:
        clip = clips[rng.integers(len(clips))]
        if speed:
            clip = stretched(clip, 1 + rng.uniform(-speed, speed))
        sound: NDArray[np.floating[Any]] = np.resize(np.roll(clip, -int(rng.integers(len(clip)))), count)
    else:
        spectrum = np.fft.rfft(rng.standard_normal(count, np.float32))
        sound = np.fft.irfft(spectrum * np.arange(1, len(spectrum) + 1) ** -rng.uniform(0, 2), count)
    return (sound / np.sqrt(power(sound) + _QUIET)).astype(np.float32)


def power(samples: NDArray[np.floating[Any]]) -> float:
    """The mean square."""
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def decibels(rng: np.random.Generator, ends: Sequence[float]) -> float:
    """A factor of amplitudes, drawn evenly between two numbers of dB."""
    return float(10 ** (rng.uniform(ends[0], ends[1]) / 20))
