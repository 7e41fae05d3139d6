"""The `data` and `model` sections of a summarizer."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.data.config import WordsConfig
from rnnzoo.tasks.cells import Cell, check_cell
from rnnzoo.util.ranges import Rate, Size


@dataclass(frozen=True)
class SummarizerConfig:
    """Recurrent layers over words, inside of one over sentences.

    Args:
        word_size: width of the word embedding.
        cell: `lstm` or `gru`.
        units: width of each layer over words.
        layers: of them.
        sentence_units: width of the layer over sentences.
        dropout: rate between layers, in training.
        word_dropout: rate at which known words become the unknown word, in training.
        recurrent_dropout: as in `GeneratorConfig`.

    Raises:
        ConfigError: the cell is unknown or does not take a rate.
    """

    word_size: Size = 32
    cell: Cell = "gru"
    units: Size = 64
    layers: Size = 1
    sentence_units: Size = 48
    dropout: Rate = 0.4
    word_dropout: Rate = 0.1
    recurrent_dropout: Rate = 0.0

    def __post_init__(self) -> None:
        check_cell(self.cell, self.recurrent_dropout)


DATA = {"words": WordsConfig}
MODEL = SummarizerConfig
