"""The model of polyphonic music."""

from __future__ import annotations

import keras

from rnnzoo.data.encoders.rows import RowEncoder
from rnnzoo.tasks.cells import RowModelConfig
from rnnzoo.tasks.recurrent import recurrent_layers


def build_polyphony(config: RowModelConfig, encoder: RowEncoder) -> keras.Model:
    """Recurrent layers and a probability for each note (RNN with independent outputs, Bengio et al. 2013).

    Args:
        config: sizes.
        encoder: names D notes.

    Returns:
        A functional model; input `rows` (B, T, D), output probabilities (B, T, D) of the notes of the next row.
    """
    rows = keras.Input((None, encoder.width), name="rows")
    x = keras.layers.Dropout(config.input_dropout, name="rows_dropout")(rows)
    x = recurrent_layers(config, x)
    notes = keras.layers.Dense(encoder.width, activation="sigmoid", name="notes")(x)
    return keras.Model({"rows": rows}, notes, name="polyphony")
