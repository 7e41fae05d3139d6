"""Recordings as log-mel features, and streams of recordings with pauses and noise."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.config import AudioConfig
from rnnzoo.errors import DataError
from streaming.errors import ArtifactError, InputError
from streaming.runtime.audio import LogMel, read_audio
from streaming.runtime.text import Vocabulary

_FILE, _LABELS = "audio.json", "labels.txt"
# Recordings that tell the mean and deviation of the features.
_MEASURED = 500


@dataclass(frozen=True)
class AudioEncoder:
    """Samples (N,) to `features` (T, M), and names for the outputs.

    Args:
        definition: of the features; the device computes the same.
        mean, scale: of each feature in the training split; the model standardizes by them.
        labels: names of the model's outputs, in order.
    """

    inputs: ClassVar[tuple[str, ...]] = ("features",)
    definition: LogMel
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    labels: tuple[str, ...]

    @classmethod
    def fit(cls, train: Sequence[NDArray[np.float32]], config: AudioConfig, labels: Iterable[str]) -> AudioEncoder:
        """Fits the encoder to the recordings of the training split.

        Raises:
            DataError: the configuration describes no features.
        """
        definition = read_definition(config)
        rows = np.concatenate([definition(samples) for samples in train[:: max(1, len(train) // _MEASURED)]])
        mean, scale = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
        return cls(definition, tuple(mean.tolist()), tuple(scale.tolist()), tuple(labels))

    def encode(self, samples: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """`features` (T, M) of float32."""
        return {"features": self.definition(samples)}

    def to_files(self) -> dict[str, bytes]:
        """The encoder as named files, for a saved run or an artifact."""
        settings = {"definition": asdict(self.definition), "mean": self.mean, "scale": self.scale}
        return {_FILE: json.dumps(settings).encode(), _LABELS: Vocabulary(self.labels).to_bytes()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> AudioEncoder:
        """Read what `to_files` wrote; raises ArtifactError where it is missing or damaged."""
        try:
            stored = json.loads(files[_FILE])
            mean, scale = (tuple(map(float, stored[name])) for name in ("mean", "scale"))
            labels = Vocabulary.from_bytes(files[_LABELS]).entries
            return cls(LogMel(**stored["definition"]), mean, scale, labels)
        except (ValueError, KeyError, TypeError, InputError) as error:
            raise ArtifactError(
                f"{_FILE} or {_LABELS} is missing or damaged ({error}); take both of one run"
            ) from error


def decoded(data: bytes, config: Any) -> NDArray[np.float32]:
    """The samples of an audio file at the rate of a configuration, (N,) of float32, as the device reads it."""
    rate = getattr(config, "sample_rate", AudioConfig.sample_rate)
    return read_audio(io.BytesIO(data), rate, mono=True, resample=True)


def after_lead(samples: NDArray[np.float32], config: AudioConfig) -> NDArray[np.float32]:
    """Samples (N,) after the silence with which a fresh state begins."""
    return np.pad(samples, (config.lead_frames * config.frame_step, 0))


class Segment(NamedTuple):
    """A recording in a stream: its begin and end in samples, and its number."""

    begin: int
    end: int
    number: int


def compose(
    clips: Sequence[NDArray[np.float32]], order: Sequence[int], config: AudioConfig, rng: np.random.Generator
) -> tuple[NDArray[np.float32], list[Segment]]:
    """One signal of recordings with pauses between them, played at other speeds and loudnesses, in noise.

    Args:
        clips: recordings of float32 samples.
        order: numbers of those to take.
        config: pauses, speeds, white noise.
        rng: chance.

    Returns:
        The signal (N,) of float32, and where each recording lies in it.
    """
    signal, segments = arrange(clips, order, config, rng)
    return in_noise(signal, config, rng), segments


def arrange(
    clips: Sequence[NDArray[np.float32]], order: Sequence[int], config: AudioConfig, rng: np.random.Generator
) -> tuple[NDArray[np.float32], list[Segment]]:
    """`compose` without noise."""
    parts: list[NDArray[np.float32]] = []
    segments, at = [], 0
    for number in order:
        pause = np.zeros(int(rng.uniform(0, config.pause) * config.sample_rate), np.float32)
        clip = stretched(clips[number], 1 + rng.uniform(-config.speed, config.speed)) * rng.uniform(0.5, 1.5)
        segments.append(Segment(at + len(pause), at + len(pause) + len(clip), int(number)))
        at += len(pause) + len(clip)
        parts += [pause, clip]
    return np.concatenate(parts), segments


def in_noise(signal: NDArray[np.float32], config: AudioConfig, rng: np.random.Generator) -> NDArray[np.float32]:
    """The signal (N,) in white noise of a deviation between 0 and that of the loudest, float32."""
    noise = rng.uniform(0, config.white_noise) * rng.standard_normal(len(signal), np.float32)
    return (signal + noise).astype(np.float32)


def read_definition(config: Any) -> LogMel:
    """The features that a `data` section with the fields of `LogMel` describes; raises DataError if there are none."""
    names = ("sample_rate", "frame_length", "frame_step", "fft_length", "num_mels", "low_hz", "high_hz")
    try:
        return LogMel(**{name: getattr(config, name) for name in names})
    except InputError as error:
        raise DataError(f"the data section describes no features: {error}") from error


def stretched(samples: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Samples played `factor` times as fast, by linear interpolation: pitch changes too, as between speakers."""
    count = max(1, round(len(samples) / factor))
    return np.interp(np.arange(count) * factor, np.arange(len(samples)), samples).astype(np.float32)
