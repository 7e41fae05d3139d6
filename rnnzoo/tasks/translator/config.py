"""The `data` and `model` sections of a translator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rnnzoo.data.config import PairsConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.cells import Cell
from rnnzoo.util.ranges import Rate, Size

Architecture = Literal["luong", "bahdanau", "cho", "sutskever", "wait_k", "transformer"]


@dataclass(frozen=True)
class TranslatorConfig:
    """An encoder-decoder: a text for a text.

    Args:
        architecture: how the decoder uses the source. `luong`: attention above the decoder, which starts from the
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


DATA = {"pairs": PairsConfig}
MODEL = TranslatorConfig
