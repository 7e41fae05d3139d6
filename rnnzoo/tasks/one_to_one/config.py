"""The `data` and `model` sections of a one-to-one model."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.data.config import WordsConfig
from rnnzoo.tasks.cells import check_widths
from rnnzoo.util.ranges import Count, Rate, Size


@dataclass(frozen=True)
class OneToOneConfig:
    """A one-to-one model: one label for each word, from that word alone; the baseline of recurrent taggers.

    Args:
        word_size, char_size, char_filters, char_widths, affix_size: as in `TaggerConfig`.
        units: width of each hidden layer.
        layers: hidden layers.
        dropout, input_dropout, word_dropout, affix_dropout: as in `TaggerConfig`.

    Raises:
        ConfigError: there are filters of characters without a width.
    """

    word_size: Size = 128
    char_size: Size = 32
    char_filters: Count = 64
    char_widths: tuple[Size, ...] = (3, 4)
    affix_size: Count = 32
    units: Size = 256
    layers: Count = 1
    dropout: Rate = 0.4
    input_dropout: Rate = 0.4
    word_dropout: Rate = 0.1
    affix_dropout: Rate = 0.0

    def __post_init__(self) -> None:
        check_widths(self.char_filters, self.char_widths)


DATA = {"words": WordsConfig}
MODEL = OneToOneConfig
