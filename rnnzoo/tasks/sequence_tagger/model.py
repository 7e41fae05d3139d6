"""Events in a signal, by a label for every frame."""

from __future__ import annotations

import keras

from rnnzoo.data.encoders.signals import SignalEncoder
from rnnzoo.layers import LookaheadConv
from rnnzoo.tasks.recurrent import recurrent_layers
from rnnzoo.tasks.sequence_tagger.config import SequenceTaggerConfig


def build_sequence_tagger(config: SequenceTaggerConfig, encoder: SignalEncoder) -> keras.Model:
    """Frames of samples, a convolution over those before, recurrent layers, logits after every frame.

    Args:
        config: sizes.
        encoder: columns D, samples of a frame, labels L.

    Returns:
        A functional model; input `rows` (B, T, D), output logits (B, T // frame, L).
    """
    rows = keras.Input((None, encoder.width), name="rows")
    # Frames that do not overlap need nothing of the window before: only the recurrent layers carry a state.
    frames = keras.layers.Conv1D(
        config.frame_units, encoder.frame, strides=encoder.frame, activation="relu", name="frames"
    )
    x = keras.layers.Dropout(config.dropout, name="frames_dropout")(frames(rows))
    if config.context:
        x = LookaheadConv(config.frame_units, 0, config.context, "relu", name="window")(x)
        x = keras.layers.Dropout(config.dropout, name="window_dropout")(x)
    x = recurrent_layers(config, x)
    logits = keras.layers.Dense(len(encoder.labels), name="logits")(x)
    return keras.Model({"rows": rows}, logits, name="sequence_tagger")
