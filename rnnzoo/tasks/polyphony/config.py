"""The `data` and `model` sections of a polyphony model."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.data.config import RowsConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.cells import RowModelConfig


@dataclass(frozen=True, kw_only=True)
class PolyphonyData(RowsConfig):
    """Piano rolls.

    Args:
        transpose: in training a piece is transposed by up to so many half tones, up or down.

    Raises:
        ConfigError: it is negative.
    """

    transpose: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.transpose < 0:
            raise ConfigError(f"data.transpose is at least 0 half tones; received {self.transpose}")


@dataclass(frozen=True)
class PolyphonyConfig(RowModelConfig):
    """Recurrent layers over chords that give the logit of each note of the next one."""


DATA = {"rows": PolyphonyData}
MODEL = PolyphonyConfig
