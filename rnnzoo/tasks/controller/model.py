"""The policy of a controller."""

from __future__ import annotations

import keras

from rnnzoo.data.encoders.rows import RowEncoder
from rnnzoo.data.problems.arm import TORQUES
from rnnzoo.tasks.controller.config import ControllerConfig
from rnnzoo.tasks.recurrent import recurrent_layers


def build_controller(config: ControllerConfig, encoder: RowEncoder) -> keras.Model:
    """Torques of what is seen now and of what the recurrent layers remember.

    Args:
        config: sizes.
        encoder: of D columns.

    Returns:
        A functional model; input `rows` (B, T, D), output (B, T, 2) in units of the scaler of the torques.
    """
    rows = keras.Input((None, encoder.width), name="rows")
    seen = keras.layers.Dense(config.width, "tanh", name="seen")(
        keras.layers.Dropout(config.input_dropout, name="rows_dropout")(rows)
    )
    remembered = recurrent_layers(config, seen)
    x = keras.layers.Concatenate(name="both")([seen, remembered]) if config.layers else seen
    x = keras.layers.Dense(config.width, "tanh", name="hidden")(x)
    x = keras.layers.Concatenate(name="with_rows")([rows, x])
    return keras.Model({"rows": rows}, keras.layers.Dense(len(TORQUES), name="torques")(x), name="controller")
