"""Signals for the evaluation of a keyword spotter: always the same, made of the recordings of a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.mixing import noise_bed, power, speech_span
from rnnzoo.tasks.keyword_spotter.detection import Spoken

# Seconds between two recordings, at least and at most; of silence at the end.
_PAUSE, _TAIL = (0.2, 1.0), 0.5
# Loudness of noise, in dB of full scale, up to that of speech; seconds of white noise at each.
_LEVELS, _WHITE = (-75.0, -60.0, -45.0, -30.0, -20.0), 10
# The ratio of speech to noise of the noisy stream, in dB.
SNR = 10.0
_SEED = 7


class Trial(NamedTuple):
    """A signal (N,), and the keywords in it."""

    samples: NDArray[np.float32]
    spoken: tuple[Spoken, ...]


def recording(clip: NDArray[np.float32], label: int, sample_rate: int) -> Trial:
    """One recording and the silence after it."""
    samples = np.pad(clip, (0, int(_TAIL * sample_rate)))
    spoken = [Spoken(label, 0.0, len(clip) / sample_rate, speech_span(clip, sample_rate)[1] / sample_rate)]
    return Trial(samples, tuple(spoken) if label > 0 else ())


def stream(
    clips: Sequence[NDArray[np.float32]],
    labels: Sequence[int],
    sample_rate: int,
    noise: Sequence[NDArray[np.float32]] | None = None,
) -> Trial:
    """All recordings in one signal, in random order, with pauses.

    Args:
        clips: recordings (N,).
        labels: their numbers.
        sample_rate: samples a second.
        noise: recordings of noise, mixed with each recording and the pause before it, 10 dB below its loud part; None:
            the pauses are silent.
    """
    rng = np.random.default_rng(_SEED)
    parts: list[NDArray[np.float32]] = []
    spoken, at = [], 0
    for number in rng.permutation(len(clips)):
        clip = clips[number]
        pause = int(rng.uniform(*_PAUSE) * sample_rate)
        begin, end = speech_span(clip, sample_rate)
        part = np.pad(clip, (pause, 0)).astype(np.float32)
        if noise is not None:
            level = np.sqrt(power(clip[begin:end])) * 10 ** (-SNR / 20)
            part = part + np.float32(level) * noise_bed(len(part), noise, rng)
        parts.append(part)
        if labels[number] > 0:
            seconds = [(at + pause + sample) / sample_rate for sample in (0, len(clip), end)]
            spoken.append(Spoken(labels[number], *seconds))
        at += len(part)
    parts.append(np.zeros(int(_TAIL * sample_rate), np.float32))
    return Trial(np.clip(np.concatenate(parts), -1, 1), tuple(spoken))


def speech(clips: Sequence[NDArray[np.float32]], sample_rate: int) -> Trial:
    """Recordings without a keyword, one after the other with short pauses."""
    pause = np.zeros(int(_PAUSE[0] * sample_rate), np.float32)
    return Trial(np.concatenate([part for clip in clips for part in (clip, pause)] or [pause]), ())


def noises(clips: Sequence[NDArray[np.float32]], sample_rate: int) -> Trial:
    """Digital silence, and white noise and recordings of noise at every loudness up to that of speech."""
    rng = np.random.default_rng(_SEED)
    parts = [np.zeros(_WHITE * sample_rate, np.float32)]
    for level in _LEVELS:
        sounds = [rng.standard_normal(_WHITE * sample_rate, np.float32), *clips]
        parts += [sound * np.float32(10 ** (level / 20) / np.sqrt(power(sound) + 1e-12)) for sound in sounds]
    return Trial(np.clip(np.concatenate(parts), -1, 1).astype(np.float32), ())
