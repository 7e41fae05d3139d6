"""The `data` and `model` sections of a sketcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnnzoo.data.config import DataConfig
from rnnzoo.tasks.cells import RowModelConfig
from rnnzoo.util.ranges import Factor, Rate, Size


@dataclass(frozen=True, kw_only=True)
class StrokesConfig(DataConfig):
    """Drawings as movements of a pen.

    Args:
        input: `strokes`.
        stretch: in training, width and height of a drawing change by up to this share, each by itself.
        rotate: in training, a drawing is turned by up to so many degrees.
        floor: the least deviation of a component of the mixtures, in units of the scale of the movements: what lies
            below the resolution of the data is no skill.
        temperature: at which the device draws; below 1, what is probable becomes more so.
        max_length: most points of a drawing on the device.
    """

    input: Literal["strokes"] = "strokes"
    stretch: Rate = 0.0
    rotate: Factor = 0.0
    floor: Factor = 0.01
    temperature: Factor = 1.0
    max_length: Size = 200


@dataclass(frozen=True)
class SketcherConfig(RowModelConfig):
    """The same, with mixtures of normal distributions as outputs.

    Args:
        mixtures: components of the mixture after each row.
    """

    mixtures: Size = 20


DATA = {"strokes": StrokesConfig}
MODEL = SketcherConfig
