"""The `data` and `model` sections of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.data.config import RowsConfig, WordsConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.cells import Cell, check_cell
from rnnzoo.util.ranges import Factor, Rate, Size


@dataclass(frozen=True, kw_only=True)
class ClassifierWords(WordsConfig):
    """Texts, labelled as a whole.

    Args:
        balance: in training, a label weighs its frequency to the power of minus this: 0 as they come, 1 all alike.
    """

    balance: Rate = 0.0


@dataclass(frozen=True, kw_only=True)
class ClassifierRows(RowsConfig):
    """Rows of numbers, labelled by the sequence.

    Args:
        window: rows of the windows that recordings are cut into, and that the device reads; None: whole recordings.
        hop: rows from window to window; None: half a window.
        balance: in training, a label weighs its frequency to the power of minus this: 0 as they come, 1 all alike.
        planes: pairs of columns, x before y, that are movements or places in a plane, as of a pen; training may change
            them as follows.
        rotate: a sequence is turned by up to so many degrees.
        stretch: its width, height and slant are changed by up to this share.
        pace: a batch is drawn faster by up to this share, or as much slower; needs two planes, movements and places;
            other columns are marks of events, such as a pen that is lifted.
        early: share of the training batches that end early, after a quarter of their rows or more, so that the label is
            known before the end where it can be.
        jitter: deviation of noise on all rows, in deviations of their columns.
        shares: parts of a sequence, such as 0.5, after which the accuracy is measured, too.

    Raises:
        ConfigError: as before, there is a hop and no window, or options do not go together.
    """

    window: Size | None = None
    hop: Size | None = None
    balance: Rate = 0.0
    planes: tuple[str, ...] = ()
    rotate: Factor = 0.0
    stretch: Rate = 0.0
    pace: Rate = 0.0
    early: Rate = 0.0
    jitter: Factor = 0.0
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if (strange := [name for name in self.planes if name not in self.columns]) or len(self.planes) % 2:
            what = f"{strange[0]!r} is no column" if strange else f"received {len(self.planes)} names"
            raise ConfigError(f"data.planes has pairs of data.columns, x before y; {what}")
        if (self.rotate or self.stretch) and not self.planes:
            raise ConfigError("data.rotate and data.stretch change columns in a plane: name them by data.planes")
        if self.pace and len(self.planes) != 4:
            raise ConfigError(f"data.pace needs data.planes of movements and places; received {list(self.planes)}")
        if not all(0 < share < 1 for share in self.shares) or (self.shares and self.window is not None):
            raise ConfigError(
                f"data.shares lie between 0 and 1, and data.window is null with them; received {list(self.shares)} and "
                f"{self.window}"
            )
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


DATA = {"words": ClassifierWords, "rows": ClassifierRows}
MODEL = ClassifierConfig
