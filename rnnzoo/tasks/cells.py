"""The cells that a configuration may name, and `model` sections that several tasks share."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.errors import ConfigError
from rnnzoo.util.ranges import Rate, Size

# One of CELLS.
Cell = str

# What `model.cell` may say; `rnnzoo.tasks.register_cell` adds to it.
CELLS = ["lstm", "gru", "simple_rnn", "min_gru", "min_lstm", "lru", "sru", "qrnn", "mlstm", "transformer"]

# Those whose layer takes `recurrent_dropout`.
MASKED_CELLS = ("lstm", "gru", "simple_rnn")


@dataclass(frozen=True)
class AudioModelConfig:
    """A model over log-mel features with an output after every frame.

    Args:
        conv_units: outputs of the first, causal convolution.
        conv_width: frames that it sees.
        cell: the recurrent cell.
        units: width of each recurrent layer.
        layers: recurrent layers.
        dropout: rate after each layer, in training.
        recurrent_dropout: as in `GeneratorConfig`.

    Raises:
        ConfigError: the cell is unknown or does not take a rate.
    """

    conv_units: Size = 96
    conv_width: Size = 5
    cell: Cell = "gru"
    units: Size = 128
    layers: Size = 2
    dropout: Rate = 0.3
    recurrent_dropout: Rate = 0.0

    def __post_init__(self) -> None:
        check_cell(self.cell, self.recurrent_dropout)


@dataclass(frozen=True)
class RowModelConfig:
    """Recurrent layers over rows of numbers with an output after every row.

    Args:
        cell: the recurrent cell.
        units: width of each recurrent layer.
        layers: recurrent layers.
        dropout: rate after each layer, in training.
        input_dropout: rate on the rows, in training.
        recurrent_dropout: as in `GeneratorConfig`.

    Raises:
        ConfigError: the cell is unknown or does not take a rate.
    """

    cell: Cell = "gru"
    units: Size = 128
    layers: Size = 1
    dropout: Rate = 0.3
    input_dropout: Rate = 0.0
    recurrent_dropout: Rate = 0.0

    def __post_init__(self) -> None:
        check_cell(self.cell, self.recurrent_dropout)


def check_cell(cell: str, recurrent_dropout: float = 0.0) -> None:
    """Raises ConfigError where the cell is unknown or does not take the rate."""
    if cell not in CELLS:
        raise ConfigError(
            f"model.cell is one of {', '.join(CELLS)}; received {cell!r}. For a cell of your own give "
            "the file that registers it: --import FILE.py"
        )
    if recurrent_dropout and cell not in MASKED_CELLS:
        raise ConfigError(
            f"model.recurrent_dropout={recurrent_dropout} goes with model.cell={', '.join(MASKED_CELLS)}; "
            f"received {cell!r}: set it to 0"
        )


def check_widths(filters: int, widths: tuple[int, ...]) -> None:
    """Raises ConfigError where there are filters of characters without a width."""
    if filters and not widths:
        raise ConfigError(f"model.char_filters={filters} needs a width or more in model.char_widths; received []")
