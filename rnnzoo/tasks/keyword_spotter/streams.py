"""Composes training streams of a keyword spotter: keywords and other speech, with pauses, rooms and noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.audio import Segment, stretched
from rnnzoo.data.encoders.mixing import decibels, equalized, in_room, noise_bed, power, pulsating, speech_span
from rnnzoo.tasks.keyword_spotter.config import KeywordAudioConfig

# The label of what is no keyword.
BACKGROUND_NUMBER = 0
# Seconds of a recording that stay before and after its loud part, at most; of a piece of a negative; of a fragment the
# share of a keyword.
_MARGIN, _PIECE, _FRAGMENT = 0.5, (0.8, 4.0), (0.2, 0.55)
# Shares of the streams that begin within the first recording, and that are free of noise; of the streams without a
# keyword, those with other speech.
_ABRUPT, _CLEAN, _OTHER_SPEECH = 0.5, 0.15, 0.5
# A stream without speech: seconds of one sort of noise, its loudness in dB of full scale, and the share of silence.
_PATCH, _PATCH_LEVEL, _SILENT = (0.3, 6.0), (-90.0, -3.0), 0.1
# The share of the noises that come and go.
_PULSATING = 0.3
# Factors of the amplitudes of recordings.
_LOUDNESS = (0.5, 1.5)


class StreamComposer:
    """Composes training streams; each depends only on the generator that is given.

    Args:
        config: pauses, speeds, rooms, noise, and the shares of keywords and negatives.
        clips: all recordings (N,) of the data set, keywords and others.
        labels: their numbers; 0 for other than keywords.
        negatives: more recordings without a keyword.
        noise: recordings of noise.
    """

    def __init__(
        self,
        config: KeywordAudioConfig,
        clips: Sequence[NDArray[np.float32]],
        labels: Sequence[int],
        negatives: Sequence[NDArray[np.float32]],
        noise: Sequence[NDArray[np.float32]],
    ):
        self._config, self._rate = config, config.sample_rate
        self._keywords = [(clip, label) for clip, label in zip(clips, labels, strict=True) if label > 0]
        self._negatives = [clip for clip, label in zip(clips, labels, strict=True) if label <= 0] + list(negatives)
        self._noise = list(noise)
        self._spans = [speech_span(clip, self._rate) for clip, _ in self._keywords]
        present = {label for _, label in self._keywords}
        self._others = {own: [i for i, (_, label) in enumerate(self._keywords) if label != own] for own in present}

    @property
    def seconds(self) -> float:
        """The length of a stream in which each keyword occurs once, on average."""
        spoken = sum(end - begin for begin, end in self._spans) / self._rate + len(self._spans) * (
            self._config.pause / 2 + self._margin
        )
        return spoken if not self._has_negatives else spoken / (1 - self._config.negative_share)

    @property
    def _has_negatives(self) -> bool:
        return bool(self._negatives) or self._config.fragments > 0

    @property
    def _margin(self) -> float:
        """Seconds of the recordings themselves around their loud parts, on average."""
        quiet = sum(len(clip) for clip, _ in self._keywords) - sum(end - begin for begin, end in self._spans)
        return min(_MARGIN, quiet / self._rate / max(1, len(self._spans)) / 2)

    def __call__(self, samples: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], list[tuple[Segment, int]]]:
        """A stream of so many samples (N,) of float32, and where its recordings lie, each with its label's number."""
        share = self._config.negative_share
        if rng.random() < self._config.keywordless:
            if not self._has_negatives or rng.random() > _OTHER_SPEECH:
                return self._noises(samples, rng), []
            share = 1.0
        signal, segments = self._speech(samples, share, rng)
        return self._in_noise(signal, rng), segments

    def _noises(self, samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """One sort of noise after the other, each with a loudness of its own."""
        signal, at = np.zeros(samples, np.float32), 0
        while at < samples:
            size = min(samples - at, int(rng.uniform(*_PATCH) * self._rate))
            if rng.random() > _SILENT:
                signal[at : at + size] = self._bed(size, rng) * np.float32(decibels(rng, _PATCH_LEVEL))
            at += size
        return np.clip(signal, -1, 1)

    def _bed(self, samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """One sort of noise with a power of 1."""
        bed = noise_bed(samples, self._noise, rng, self._config.noise_speed)
        if self._config.equalizer:
            bed = equalized(bed, self._rate, self._config.equalizer, rng)
            bed = pulsating(bed, self._rate, rng) if rng.random() < _PULSATING else bed
        return bed

    def _speech(
        self, samples: int, share: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], list[tuple[Segment, int]]]:
        """Recordings with pauses, this share of them negatives."""
        signal, segments = np.zeros(samples, np.float32), []
        at = 0 if rng.random() < _ABRUPT else self._pause(rng)
        while at < samples:
            clip, begin, end, label, number = self._piece(share, rng)
            fitting = min(len(clip), samples - at)
            signal[at : at + fitting] += clip[:fitting]
            segments.append((Segment(at + begin, at + end, number), label))
            at += len(clip) + self._pause(rng)
        return signal, segments

    def _pause(self, rng: np.random.Generator) -> int:
        return int(rng.uniform(0, self._config.pause) * self._rate)

    def _piece(self, share: float, rng: np.random.Generator) -> tuple[NDArray[np.float32], int, int, int, int]:
        """A recording, begin and end of what is loud in it, its label, and which it is."""
        number = int(rng.integers(len(self._keywords)))
        clip, label = self._keywords[number]
        begin, end = self._spans[number]
        speed = self._config.speed
        if self._has_negatives and rng.random() < share:
            if rng.random() < self._config.fragments or not self._negatives:
                clip, begin, end = self._fragment(clip[begin:end], label, rng)
            else:
                clip, begin, end = self._negative(rng)
            label, number, speed = BACKGROUND_NUMBER, -1, self._config.negative_speed or speed
        else:
            first = max(0, begin - int(rng.uniform(0, _MARGIN) * self._rate))
            last = end + int(rng.uniform(0, _MARGIN) * self._rate)
            clip, begin, end = clip[first:last], begin - first, end - first
        factor = 1 + rng.uniform(-speed, speed)
        clip = stretched(clip, factor) * np.float32(rng.uniform(*_LOUDNESS))
        if self._config.equalizer:
            clip = equalized(clip, self._rate, self._config.equalizer, rng)
        if self._config.room and rng.random() < self._config.room:
            clip = in_room(clip, self._rate, rng)
        return clip, round(begin / factor), min(round(end / factor), len(clip)), label, number

    def _negative(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], int, int]:
        clip = self._negatives[rng.integers(len(self._negatives))]
        size = min(len(clip), int(rng.uniform(*_PIECE) * self._rate))
        first = int(rng.integers(len(clip) - size + 1))
        return clip[first : first + size], 0, size

    def _fragment(
        self, word: NDArray[np.float32], label: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], int, int]:
        """The beginning or the end of a keyword, all of it backwards, or its beginning and then another's end."""
        size, kind = int(len(word) * rng.uniform(*_FRAGMENT)), rng.integers(3)
        if self._others[label] and rng.random() < self._config.splices:
            fragment = np.concatenate([word[:size], self._end_of_another(label, rng)])
        else:
            fragment = word[:size] if kind == 0 else word[-size:] if kind == 1 else word[::-1]
        return fragment, 0, len(fragment)

    def _end_of_another(self, label: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """The end of a keyword with another label."""
        number = self._others[label][rng.integers(len(self._others[label]))]
        begin, end = self._spans[number]
        size = int((end - begin) * rng.uniform(*_FRAGMENT))
        return self._keywords[number][0][end - size : end]

    def _in_noise(self, signal: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        config = self._config
        if config.noise and rng.random() > _CLEAN:
            # Against what is loud: pauses would make the noise louder than is meant.
            loud = signal[np.abs(signal) > 0.1 * np.abs(signal).max(initial=0)]
            level = np.sqrt(power(loud)) / decibels(rng, config.snr)
            signal = signal + np.float32(level) * self._bed(len(signal), rng)
        noise = rng.uniform(0, config.white_noise) * rng.standard_normal(len(signal), np.float32)
        mixed = (signal + noise) * np.float32(decibels(rng, config.level))
        # As a converter does it that is driven too hard.
        return np.clip(mixed, -1, 1).astype(np.float32)
