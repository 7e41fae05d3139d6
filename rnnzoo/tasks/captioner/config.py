"""The `data` and `model` sections of a captioner."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.data.config import PicturesConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.cells import Cell
from rnnzoo.util.ranges import Rate, Size


@dataclass(frozen=True)
class CaptionerConfig:
    """A text for a picture, or for features of one.

    Args:
        filters: width of each convolution; the picture is halved between them. Empty: the input are features.
        stride: of the first convolution.
        token_size: width of a token's vector.
        cell: `lstm`, `gru` or `transformer`, a block of attention to the words before and the regions.
        units: width of the decoder.
        attention_units: width of the hidden layer of a recurrent decoder's attention.
        dropout: rate on regions of the picture, on vectors of tokens and before the scores, in training.

    Raises:
        ConfigError: the cell cannot be used with attention.
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


DATA = {"pictures": PicturesConfig}
MODEL = CaptionerConfig
