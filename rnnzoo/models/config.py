"""What a model section of an experiment may say, one dataclass a topology."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rnnzoo.errors import ConfigError
from rnnzoo.ranges import Count, Rate, Size

# One of CELLS.
Cell = str
Head = Literal["softmax", "crf"]
Architecture = Literal["luong", "bahdanau", "cho", "sutskever", "wait_k", "transformer"]

# What `model.cell` may say; `rnnzoo.models.register_cell` adds to it.
CELLS = ["lstm", "gru", "simple_rnn", "min_gru", "min_lstm", "lru", "sru", "qrnn", "mlstm", "transformer"]

# Those whose layer takes `recurrent_dropout`.
MASKED_CELLS = ("lstm", "gru", "simple_rnn")


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
        recurrent_dropout: as in `LanguageModelConfig`.
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
        _check_cell(self.cell, self.recurrent_dropout)
        if self.head not in get_args(Head):
            raise ConfigError(f"model.head is one of {', '.join(get_args(Head))}; received {self.head!r}")
        _check_widths(self.char_filters, self.char_widths)
        if self.bidirectional and self.lookahead:
            raise ConfigError(
                "model.bidirectional=true reads to the end of the sentence and leaves model.lookahead="
                f"{self.lookahead} nothing to do: set model.lookahead=0, or model.bidirectional=false to stream"
            )
        if self.bidirectional and self.cell == "transformer":
            raise ConfigError(
                "model.cell=transformer only reads forwards: set model.bidirectional=false, or take a recurrent cell"
            )


@dataclass(frozen=True)
class FeedForwardConfig:
    """A one-to-one model: one label for each word, from that word alone; what recurrence has to beat.

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
        _check_widths(self.char_filters, self.char_widths)


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
        recurrent_dropout: as in `LanguageModelConfig`.

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
        _check_cell(self.cell, self.recurrent_dropout)


@dataclass(frozen=True)
class LanguageModelConfig:
    """A synchronized many-to-many model that says which token comes next, and so a one-to-many one when it generates.

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
        _check_cell(self.cell, self.recurrent_dropout)


@dataclass(frozen=True)
class TranslatorConfig:
    """An encoder-decoder: a text for a text.

    Args:
        architecture: what the decoder sees of the source. `luong`: attention above the decoder, which starts from the
            last states of an encoder in both directions (Luong et al. 2015); `bahdanau`: the same inside its loop,
            before each step (Bahdanau et al. 2015); `cho`: the encoder's last state, at every step (Cho et al. 2014);
            `sutskever`: the last states of all layers of the encoder, which the decoder starts from (Sutskever et al.
            2014, who also reverse the source: `data.reverse_source`); `wait_k`: what has been read so far, for
            `data.wait_k`; `transformer`: all of the source, by blocks of attention in place of the recurrent layers
            (Vaswani et al. 2017).
        token_size: width of the vectors of source and target tokens; the latter also score the next token.
        cell: `lstm` or `gru`; a `transformer` has none.
        units: width of each layer of the decoder, and of the encoder over all its directions.
        layers: of the encoder, and of the decoder.
        dropout: rate on vectors of tokens, between layers and before the scores, in training.
        heads: of the attention of `transformer`, and with `wait_k` of that to what has been read.

    Raises:
        ConfigError: a name is unknown, or a size does not fit.
    """

    architecture: Architecture = "luong"
    token_size: Size = 256
    cell: Cell = "gru"
    units: Size = 256
    layers: Size = 1
    dropout: Rate = 0.3
    heads: Size = 4

    def __post_init__(self) -> None:
        if self.architecture not in get_args(Architecture):
            raise ConfigError(
                f"model.architecture is one of {', '.join(get_args(Architecture))}; received {self.architecture!r}"
            )
        if self.cell not in ("lstm", "gru"):
            raise ConfigError(
                f"model.cell is lstm or gru in a translator, and model.architecture=transformer another choice; "
                f"received {self.cell!r}"
            )
        if self.units % 2 or self.units % self.heads:
            raise ConfigError(f"model.units is a multiple of 2 and of model.heads={self.heads}; received {self.units}")


@dataclass(frozen=True)
class CaptionerConfig:
    """A text for a picture, or for features of one.

    Args:
        filters: width of each convolution; the picture is halved between them. None of them: features are given.
        stride: of the first convolution.
        token_size: width of a token's vector.
        cell: `lstm`, `gru` or `transformer`, a block of attention to the words before and the regions.
        units: width of the decoder.
        attention_units: width of the hidden layer of a recurrent decoder's attention.
        dropout: rate on regions of the picture, on vectors of tokens and before the scores, in training.

    Raises:
        ConfigError: the cell has no form that attends.
    """

    filters: tuple[Size, ...] = (32, 64, 128)
    stride: Size = 2
    token_size: Size = 128
    cell: Cell = "lstm"
    units: Size = 256
    attention_units: Size = 128
    dropout: Rate = 0.3

    def __post_init__(self) -> None:
        if self.cell not in ("lstm", "gru", "transformer"):
            raise ConfigError(f"model.cell is lstm, gru or transformer in a captioner; received {self.cell!r}")


@dataclass(frozen=True)
class AudioModelConfig:
    """A model over log-mel features that says something after every frame.

    Args:
        conv_units: outputs of the first, causal convolution.
        conv_width: frames that it sees.
        cell: the recurrent cell.
        units: width of each recurrent layer.
        layers: recurrent layers.
        dropout: rate after each layer, in training.
        recurrent_dropout: as in `LanguageModelConfig`.

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
        _check_cell(self.cell, self.recurrent_dropout)


@dataclass(frozen=True)
class TranscriberConfig(AudioModelConfig):
    """The same, which says something after every few frames.

    Args:
        stride: frames from one output to the next.

    Raises:
        ConfigError: as before, or the convolution would skip frames.
    """

    stride: Size = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.stride <= self.conv_width:
            raise ConfigError(
                f"model.stride is from 1 to model.conv_width={self.conv_width}, so that each frame is seen; "
                f"received {self.stride}"
            )


@dataclass(frozen=True)
class RowModelConfig:
    """Recurrent layers over rows of numbers that say something after every row.

    Args:
        cell: the recurrent cell.
        units: width of each recurrent layer.
        layers: recurrent layers.
        dropout: rate after each layer, in training.
        input_dropout: rate on the rows, in training.
        recurrent_dropout: as in `LanguageModelConfig`.

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
        _check_cell(self.cell, self.recurrent_dropout)


@dataclass(frozen=True)
class ForecasterConfig(RowModelConfig):
    """The same, added to a linear map of the changes before each row.

    Args:
        reads: what the recurrent layers read: `rows`, or `changes` from row to row, so that all of the forecast moves
            along with a series that moves.
        columns: recurrent layers read all columns `together`, or each by itself, with the same weights (`apart`; Nie
            et al. 2023), as an LSTM.
        linear: what a training by `rnnzoo train` begins the linear map with: `zeros`, or the solution of
            `least_squares` on the training split.

    Raises:
        ConfigError: as before, `reads` or `columns` is something else, or another cell is to read columns `apart`.
    """

    linear: Literal["zeros", "least_squares"] = "zeros"
    reads: Literal["rows", "changes"] = "rows"
    columns: Literal["together", "apart"] = "together"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.columns == "apart" and self.cell != "lstm":
            raise ConfigError(f"model.columns=apart needs model.cell=lstm; received {self.cell!r}")


@dataclass(frozen=True)
class SignalModelConfig(RowModelConfig):
    """The same over frames of samples.

    Args:
        frame_units: outputs of the layer that takes a frame.
    """

    frame_units: Size = 32


def _check_cell(cell: str, recurrent_dropout: float = 0.0) -> None:
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


def _check_widths(filters: int, widths: tuple[int, ...]) -> None:
    if filters and not widths:
        raise ConfigError(f"model.char_filters={filters} needs a width or more in model.char_widths; received []")
