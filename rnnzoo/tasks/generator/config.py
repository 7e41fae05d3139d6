"""The `data` and `model` sections of a generator."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.data.config import TextConfig
from rnnzoo.tasks.cells import Cell, check_cell
from rnnzoo.util.ranges import Rate, Size


@dataclass(frozen=True)
class GeneratorConfig:
    """A many-to-many model that predicts the next token at each step; it generates text from its own predictions.

    Args:
        token_size: width of the token embedding.
        cell: the recurrent cell.
        units: width of each recurrent layer.
        layers: recurrent layers, each after the first with a residual connection.
        dropout: rate before, between and after the recurrent layers, in training.
        recurrent_dropout: rate on the state that the gates read, by one mask a sequence, in training (Gal &
            Ghahramani 2016); for `lstm`, `gru` and `simple_rnn`, whose loop it slows.

    Raises:
        ConfigError: the cell is unknown or does not take a rate.
    """

    token_size: Size = 64
    cell: Cell = "lstm"
    units: Size = 512
    layers: Size = 1
    dropout: Rate = 0.4
    recurrent_dropout: Rate = 0.0

    def __post_init__(self) -> None:
        check_cell(self.cell, self.recurrent_dropout)


DATA = {"text": TextConfig}
MODEL = GeneratorConfig
