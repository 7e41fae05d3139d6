"""The `data` and `model` sections of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.data.config import RowsConfig, WordsConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.cells import Cell, check_cell
from rnnzoo.util.ranges import Rate, Size


@dataclass(frozen=True, kw_only=True)
class ClassifierRows(RowsConfig):
    """Rows of numbers, labelled by the sequence.

    Args:
        window: rows of the windows that recordings are cut into, and that the device reads; None: whole recordings.
        hop: rows from window to window; None: half a window.

    Raises:
        ConfigError: as before, or there is a hop and no window.
    """

    window: Size | None = None
    hop: Size | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hop is not None and self.window is None:
            raise ConfigError(f"data.hop={self.hop} is from window to window: set data.window, too")

    @property
    def step(self) -> int:
        """Rows from window to window."""
        return self.hop or max(1, (self.window or 0) // 2)


@dataclass(frozen=True)
class ClassifierConfig:
    """A many-to-one model: one label for a whole sequence, with a score after every step.

    Args:
        word_size: width of the word embedding.
        cell: `lstm` or `gru`.
        units: width of each recurrent layer.
        layers: recurrent layers.
        dropout: rate between layers, in training.
        word_dropout: rate at which known words become the unknown word, in training.
        recurrent_dropout: as in `GeneratorConfig`.

    Raises:
        ConfigError: the cell is unknown or does not take a rate.
    """

    word_size: Size = 128
    cell: Cell = "lstm"
    units: Size = 192
    layers: Size = 1
    dropout: Rate = 0.4
    word_dropout: Rate = 0.1
    recurrent_dropout: Rate = 0.0

    def __post_init__(self) -> None:
        check_cell(self.cell, self.recurrent_dropout)


DATA = {"words": WordsConfig, "rows": ClassifierRows}
MODEL = ClassifierConfig
