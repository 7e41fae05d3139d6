"""The `data` and `model` sections of a generator with styles."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.tasks.generator.config import GeneratorConfig
from rnnzoo.tasks.sequence_generator.config import LinesConfig
from rnnzoo.util.ranges import Rate, Size


@dataclass(frozen=True, kw_only=True)
class StyledLinesConfig(LinesConfig):
    """Texts that each have a beginning, an end and a style.

    Args:
        samples: texts of each style that are drawn for the figures.
        hidden: share of the training texts whose style is not told, so that the model also writes without one.
    """

    hidden: Rate = 0.1


@dataclass(frozen=True)
class StyledGeneratorConfig(GeneratorConfig):
    """A generator with the style beside every step.

    Args:
        style_size: width of the style's vector.
    """

    style_size: Size = 16


DATA = {"lines": StyledLinesConfig}
MODEL = StyledGeneratorConfig
