"""The recurrent layers that a configuration may name."""

from __future__ import annotations

import keras

from rnnzoo.layers import GRU, LSTM, MinGRU, MinLSTM, SimpleRNN
from rnnzoo.models.config import Cell

_CELLS: dict[Cell, type[keras.layers.Layer]] = {
    "lstm": LSTM,
    "gru": GRU,
    "simple_rnn": SimpleRNN,
    "min_gru": MinGRU,
    "min_lstm": MinLSTM,
}


def recurrent_layer(
    cell: Cell, units: int, *, name: str, return_sequences: bool = True, bidirectional: bool = False
) -> keras.layers.Layer:
    """A recurrent layer by the name of its cell."""
    layer = _CELLS[cell](units, return_sequences=return_sequences, name=name)
    return keras.layers.Bidirectional(layer, name=f"both_{name}") if bidirectional else layer
