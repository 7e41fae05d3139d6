"""The `data` and `model` sections of a composer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnnzoo.data.config import DataConfig
from rnnzoo.tasks.generator.config import GeneratorConfig
from rnnzoo.util.ranges import Count, Factor, Size


@dataclass(frozen=True, kw_only=True)
class ChordsConfig(DataConfig):
    """Pieces of chords.

    Args:
        input: `chords`.
        octave: octaves between the data and what sounds.
        transpose: in training a piece is transposed by up to so many half tones, up or down, within the compass of
            the training split.
        temperature: at which the device and the figures draw; below 1, what is probable becomes more so.
        max_length: most notes and ends of chords of a piece that is drawn.
        samples: pieces that are drawn for the figures.
    """

    input: Literal["chords"] = "chords"
    octave: int = 0
    transpose: Count = 0
    temperature: Factor = 1.0
    max_length: Size = 400
    samples: Size = 50


DATA = {"chords": ChordsConfig}
MODEL = GeneratorConfig
