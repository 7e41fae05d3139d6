"""The recurrent layers that a configuration may name."""

from __future__ import annotations

import keras

from rnnzoo.errors import ConfigError

_CELLS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


def recurrent_layer(
    cell: str, units: int, *, name: str, return_sequences: bool = True, bidirectional: bool = False
) -> keras.layers.Layer:
    """A recurrent layer by the name of its cell.

    Raises:
        ConfigError: no cell has this name.
    """
    if cell not in _CELLS:
        raise ConfigError(f"model.cell is one of {', '.join(_CELLS)}; received {cell!r}")
    layer = _CELLS[cell](units, return_sequences=return_sequences, name=name)
    return keras.layers.Bidirectional(layer, name=f"both_{name}") if bidirectional else layer
