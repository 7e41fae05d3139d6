"""The `data` and `model` sections of a tagger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rnnzoo.data.config import WordsConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.cells import Cell, check_cell, check_widths
from rnnzoo.util.ranges import Count, Rate, Size

Head = Literal["softmax", "crf"]


@dataclass(frozen=True)
class TaggerConfig:
    """A many-to-many model: one label for each word.

    Args:
        word_size: width of the word embedding.
        char_size: width of the character embedding.
        char_filters: character convolution filters for each width in `char_widths`; 0: no characters.
        char_widths: widths of the character convolutions.
        affix_size: width of each affix embedding; 0: no affixes.
        context: words to the left that the first convolution sees.
        lookahead: words to the right that the first convolution sees: the delay of the stream.
        project: width of the vector that each word becomes before the convolution; 0: as wide as its parts.
        conv_units: outputs of that convolution.
        cell: `lstm` or `gru`.
        units: width of each recurrent layer.
        layers: recurrent layers, each after the first with a residual connection.
        bidirectional: read the sentence from both ends; not streamable, and needs `lookahead` 0.
        dropout: rate between layers, in training.
        input_dropout: rate on the vectors of words, characters and affixes, in training.
        word_dropout: rate at which known words become the unknown word, in training.
        affix_dropout: the same for affixes.
        recurrent_dropout: as in `GeneratorConfig`.
        head: `softmax`: each label by itself; `crf`: the best path through a chain of labels, of which the BIO
            scheme allows only some.

    Raises:
        ConfigError: `bidirectional` contradicts `lookahead` or the cell, or the cell or the head is unknown.
    """

    word_size: Size = 128
    char_size: Size = 32
    char_filters: Count = 64
    char_widths: tuple[Size, ...] = (3, 4)
    affix_size: Count = 32
    context: Count = 2
    lookahead: Count = 2
    project: Count = 0
    conv_units: Size = 256
    cell: Cell = "lstm"
    units: Size = 256
    layers: Count = 1
    bidirectional: bool = False
    dropout: Rate = 0.4
    input_dropout: Rate = 0.4
    word_dropout: Rate = 0.1
    affix_dropout: Rate = 0.0
    recurrent_dropout: Rate = 0.0
    head: Head = "softmax"

    def __post_init__(self) -> None:
        check_cell(self.cell, self.recurrent_dropout)
        if self.head not in get_args(Head):
            raise ConfigError(f"model.head is one of {', '.join(get_args(Head))}; received {self.head!r}")
        check_widths(self.char_filters, self.char_widths)
        if self.bidirectional and self.lookahead:
            raise ConfigError(
                "model.bidirectional=true reads to the end of the sentence and leaves model.lookahead="
                f"{self.lookahead} nothing to do: set model.lookahead=0, or model.bidirectional=false to stream"
            )
        if self.bidirectional and self.cell == "transformer":
            raise ConfigError(
                "model.cell=transformer only reads forwards: set model.bidirectional=false, or take a recurrent cell"
            )


@dataclass(frozen=True, kw_only=True)
class TaggedWordsConfig(WordsConfig):
    """Texts with a tag for each word.

    Args:
        swap: in training, the share of the entities (tags of the BIO scheme) that another one of their type takes the
            place of, anew in each pass: the words around them tell the type then, not the words that were learned by
            heart (Dai and Adel 2020, "An Analysis of Simple Data Augmentation for Named Entity Recognition").
        gazetteers: lists of entities, `TYPE=NAME` each; NAME is a data set of texts with a label, such as
            `names_nationality`, or a text file (in `encoding`) with one entity a line. In half of the swaps of that
            type an entry takes the place of as many last words, of all where it has more.

    Raises:
        ConfigError: a gazetteer has another form, or no entity is swapped.
    """

    swap: Rate = 0.0
    gazetteers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for entry in self.gazetteers:
            kind, _, name = entry.partition("=")
            if not kind or not name:
                raise ConfigError(
                    f"data.gazetteers are TYPE=NAME, such as person=names_nationality; received {entry!r}"
                )
        if self.gazetteers and not self.swap:
            raise ConfigError("data.gazetteers take the place of entities: say how many, such as data.swap=0.5")


DATA = {"words": TaggedWordsConfig}
MODEL = TaggerConfig
