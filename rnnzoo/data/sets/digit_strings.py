"""Strings of spoken digits, put together from single recordings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnnzoo.data.config import AudioConfig, DataConfig
from rnnzoo.data.encoders.audio import compose
from rnnzoo.data.sets.spoken_digit import DEV, SAMPLE_RATE, TEST, at_rate_of, recordings
from rnnzoo.data.source import Example, Splits, register_dataset

_NAME = "spoken_digit_strings"
# Digits of a string, the longest pause before each, and the silence at the end, in seconds; the loudest noise.
_SHORTEST, _LONGEST, _PAUSE, _TAIL, _NOISE = 3, 7, 0.5, 0.3, 0.01
# Seed and number of strings of the splits that never change.
_STRINGS = {"dev": (1, 100), "test": (2, 200)}


@register_dataset(_NAME, "audio-text")
def read_strings(config: DataConfig) -> Splits:
    """Free Spoken Digit Dataset: float32 samples and the digits that are said, with a space between.

    `dev` and `test` are strings of 3 to 7 digits by any of the speakers, with pauses and in noise, the same each
    time; recordings of the official test split are in `test` only. `train` has single recordings, from which the task
    composes new strings for each pass.
    """
    # By number first: the first few hold every digit.
    ordered = sorted(recordings(), key=lambda item: (item[2], item[1], item[0][1]))
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for example, _, index in ordered:
        splits["test" if index in TEST else "dev" if index in DEV else "train"].append(example)
    made = {"train": splits["train"], **{name: _strings(splits[name], *_STRINGS[name]) for name in _STRINGS}}
    return {name: [(at_rate_of(config, samples), text) for samples, text in rows] for name, rows in made.items()}


def _strings(digits: Sequence[Example], seed: int, count: int) -> list[Example]:
    """So many strings, in which the recordings come about equally often."""
    rng = np.random.default_rng(seed)
    config = AudioConfig(dataset=_NAME, sample_rate=SAMPLE_RATE, pause=_PAUSE, speed=0.0, white_noise=_NOISE)
    lengths = rng.integers(_SHORTEST, _LONGEST, count, endpoint=True)
    passes = -(-int(lengths.sum()) // len(digits))
    order = np.concatenate([rng.permutation(len(digits)) for _ in range(passes)])
    tail = np.zeros(int(_TAIL * SAMPLE_RATE), np.float32)
    clips = [*(samples for samples, _ in digits), tail]
    made = []
    for chosen in np.split(order[: lengths.sum()], np.cumsum(lengths)[:-1]):
        signal, _ = compose(clips, [*chosen, len(digits)], config, rng)
        made.append((signal, " ".join(digits[i][1] for i in chosen)))
    return made
