"""The recurrent layers that a configuration may name, and the Transformer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from rnnzoo.layers import GRU, LRU, LSTM, MLSTM, QRNN, SRU, MinGRU, MinLSTM, SimpleRNN, TransformerBlock
from rnnzoo.tasks.cells import CELLS, Cell


def _sru(units: int, **kwargs: Any) -> keras.layers.Layer:
    """The form that is a scan."""
    return SRU(units, peepholes=False, **kwargs)


def head_count(units: int) -> int:
    """Four heads, where they divide the units."""
    return 1 if units % 4 else 4


def _mlstm(units: int, **kwargs: Any) -> keras.layers.Layer:
    """Heads of at most a quarter of the units, where they divide by four: a memory is as large as a head's square."""
    return MLSTM(units, heads=head_count(units), **kwargs)


def _transformer(units: int, return_sequences: bool, name: str) -> keras.layers.Layer:
    """A Transformer block in place of a recurrent layer; where one row stands for all, the mean of its steps."""
    block = TransformerBlock(units, heads=head_count(units), name=name)
    if return_sequences:
        return block
    return keras.Sequential([block, keras.layers.GlobalAveragePooling1D(name=f"{name}_mean")], name=f"{name}_whole")


_CELLS: dict[Cell, Callable[..., keras.layers.Layer]] = {
    "lstm": LSTM,
    "gru": GRU,
    "simple_rnn": SimpleRNN,
    "min_gru": MinGRU,
    "min_lstm": MinLSTM,
    "lru": LRU,
    "sru": _sru,
    "qrnn": QRNN,
    "mlstm": _mlstm,
    "transformer": _transformer,
}
# Names that files of users have registered: such a file may be imported again.
_OWN: set[str] = set()


def register_cell(name: str, make: Callable[[int], Any]) -> None:
    """Register a cell of your own for `model.cell` in configurations.

    Args:
        name: for `model.cell`.
        make: takes the units U, gives a Keras RNN cell with outputs (B, U), which `keras.layers.RNN` runs. A cell that
            is registered with `keras.saving.register_keras_serializable` can be saved.

    Raises:
        ValueError: the name is taken by another cell.
    """

    def layer(units: int, **kwargs: Any) -> keras.layers.Layer:
        cell = make(units)
        # Weights are saved by their names: one that Keras counts up would differ in the next process.
        cell.name = name
        return keras.layers.RNN(cell, **kwargs)

    if name in CELLS and name not in _OWN:
        raise ValueError(f"expected a name of its own for the cell; received {name!r}, which the zoo has")
    if name not in CELLS:
        CELLS.append(name)
    _OWN.add(name)
    _CELLS[name] = layer


def recurrent_layer(
    cell: Cell,
    units: int,
    *,
    name: str,
    return_sequences: bool = True,
    bidirectional: bool = False,
    recurrent_dropout: float = 0.0,
) -> keras.layers.Layer:
    """A recurrent layer by the name of its cell; `recurrent_dropout` is for `MASKED_CELLS`."""
    masked = {"recurrent_dropout": recurrent_dropout} if recurrent_dropout else {}
    layer = _CELLS[cell](units, return_sequences=return_sequences, name=name, **masked)
    return keras.layers.Bidirectional(layer, name=f"both_{name}") if bidirectional else layer


def recurrent_layers(
    config: Any, x: Any, *, residual: bool = False, bidirectional: bool = False, whole: bool = False
) -> Any:
    """The recurrent layers of a configuration, each followed by dropout.

    Args:
        config: has `cell`, `units`, `layers`, `dropout` and `recurrent_dropout`.
        x: (B, T, D).
        residual: add the input of a layer to its output, where they have the same width.
        bidirectional: read from both ends.
        whole: return only the last output of the last layer, (B, U).

    Returns:
        (B, T, U), U being the width of the layers; without layers, x.
    """
    for i in range(config.layers):
        layer = recurrent_layer(
            config.cell,
            config.units,
            name=f"recurrent_{i}",
            return_sequences=not (whole and i == config.layers - 1),
            bidirectional=bidirectional,
            recurrent_dropout=config.recurrent_dropout,
        )
        y = keras.layers.Dropout(config.dropout, name=f"recurrent_{i}_dropout")(layer(x))
        x = keras.layers.Add(name=f"residual_{i}")([x, y]) if residual and x.shape[-1] == y.shape[-1] else y
    return x
