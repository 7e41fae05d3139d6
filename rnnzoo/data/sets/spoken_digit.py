"""Spoken digits: recordings and what is said in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms
from rnnzoo.errors import DataError
from streaming.runtime.audio import resample

SAMPLE_RATE = 8000
SPEAKERS = ("george", "jackson", "nicolas", "theo", "yweweler")
_NAME = "spoken_digit"
_WITHOUT = f"{_NAME}/without/"
# Numbers of the recordings of a speaker and digit: the first are the official test split.
TEST, DEV = range(5), range(5, 9)

register_terms(
    "spoken_digit",
    title="Free Spoken Digit Dataset",
    licence="CC-BY-SA-4.0",
    citation="Jackson et al. (2018)",
    url="https://github.com/Jakobovski/free-spoken-digit-dataset",
)


@register_dataset(_NAME, "audio-label")
def read_digits(config: DataConfig) -> Splits:
    """Free Spoken Digit Dataset, by the builder of TFDS, official test split: float32 samples and a digit.

    It was recorded at 8 kHz; a configuration with another rate gets it resampled.
    """
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for (samples, digit), _, index in recordings():
        example = at_rate_of(config, samples), digit
        splits["test" if index in TEST else "dev" if index in DEV else "train"].append(example)
    return splits


@register_dataset(_WITHOUT, "audio-label")
def read_without_speaker(config: DataConfig) -> Splits:
    """`spoken_digit/without/SPEAKER`: all recordings of one speaker are the test split, and no other's."""
    speaker = config.dataset.removeprefix(_WITHOUT)
    if speaker not in SPEAKERS:
        raise DataError(f"{_NAME} has no speaker {speaker!r}; known: {', '.join(SPEAKERS)}")
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for (samples, digit), who, index in recordings():
        example = at_rate_of(config, samples), digit
        splits["test" if who == speaker else "dev" if index in DEV else "train"].append(example)
    return splits


@register_dataset(f"{_NAME}/voices", "audio-voice")
def read_voices(config: DataConfig) -> Splits:
    """`spoken_digit/voices`: the recordings of the official splits, each with its digit and who says it."""
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for (samples, digit), voice, index in recordings():
        example = at_rate_of(config, samples), (digit, voice)
        splits["test" if index in TEST else "dev" if index in DEV else "train"].append(example)
    return splits


def at_rate_of(config: DataConfig, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples (N,) at the rate that a configuration asks for, as the device resamples."""
    rate = getattr(config, "sample_rate", SAMPLE_RATE)
    return samples if rate == SAMPLE_RATE else resample(samples, SAMPLE_RATE, rate).astype(np.float32)


def recordings() -> list[tuple[Example, str, int]]:
    """All recordings in the order of their names: (samples in -1 .. 1, digit), speaker, number."""
    examples = []
    for row in rows(_NAME, "train"):
        digit, speaker, index = row["audio/filename"].decode().removesuffix(".wav").split("_")
        examples.append(((row["audio"].astype("float32") / 32768, digit), speaker, int(index)))
    return sorted(examples, key=lambda item: (item[0][1], item[1], item[2]))
