"""Speech recognition by connectionist temporal classification: labels, with blanks between them."""

from __future__ import annotations

import keras
import numpy as np

from rnnzoo.data.encoders.audio import AudioEncoder
from rnnzoo.tasks.recurrent import recurrent_layers
from rnnzoo.tasks.transcriber.config import TranscriberConfig


def build_transcriber(config: TranscriberConfig, encoder: AudioEncoder) -> keras.Model:
    """Normalized log-mel features, a causal convolution with a stride, recurrent layers, logits.

    Args:
        config: sizes.
        encoder: definition, mean and scale of the features, labels L, the first one the blank.

    Returns:
        A functional model; input `features` (B, T, M), output logits (B, ceil(T / stride), L).
    """
    features = keras.Input((None, encoder.definition.num_mels), name="features")
    x = keras.layers.Normalization(mean=encoder.mean, variance=np.square(encoder.scale), name="normalized")(features)
    x = keras.layers.Conv1D(
        config.conv_units, config.conv_width, strides=config.stride, padding="causal", activation="relu", name="conv"
    )(x)
    x = keras.layers.Dropout(config.dropout, name="conv_dropout")(x)
    x = recurrent_layers(config, x)
    logits = keras.layers.Dense(len(encoder.labels), name="logits")(x)
    return keras.Model({"features": features}, logits, name="transcriber")
