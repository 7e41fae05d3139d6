"""The model of drawings."""

from __future__ import annotations

import keras

from rnnzoo.data.encoders.rows import RowEncoder
from rnnzoo.tasks.recurrent import recurrent_layers
from rnnzoo.tasks.sketcher.config import SketcherConfig
from streaming.runtime.decoding.mixtures import PARAMETERS, PENS


def build_sketcher(config: SketcherConfig, encoder: RowEncoder) -> keras.Model:
    """Recurrent layers and a mixture density of the next movement (Graves 2013; Ha and Eck 2018).

    Args:
        config: sizes; M mixtures.
        encoder: of D = 3 columns.

    Returns:
        A functional model; input `rows` (B, T, 3), output (B, T, 6 M + 3), as `PenMixture.read` takes it.
    """
    rows = keras.Input((None, encoder.width), name="rows")
    x = keras.layers.Dropout(config.input_dropout, name="rows_dropout")(rows)
    x = recurrent_layers(config, x, residual=True)
    mixture = keras.layers.Dense(PARAMETERS * config.mixtures + PENS, name="mixture")(x)
    return keras.Model({"rows": rows}, mixture, name="sketcher")
