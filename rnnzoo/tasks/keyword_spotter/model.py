"""The keyword spotter: logits of keywords after every frame of a signal."""

from __future__ import annotations

import keras
import numpy as np

from rnnzoo.data.encoders.audio import AudioEncoder
from rnnzoo.tasks.cells import AudioModelConfig
from rnnzoo.tasks.recurrent import recurrent_layers


def build_keyword_spotter(config: AudioModelConfig, encoder: AudioEncoder) -> keras.Model:
    """Normalized log-mel features, a causal convolution, recurrent layers, logits after every frame.

    Args:
        config: sizes.
        encoder: definition, mean and scale of the features, labels L.

    Returns:
        A functional model; input `features` (B, T, M), output logits (B, T, L).
    """
    features = keras.Input((None, encoder.definition.num_mels), name="features")
    x = keras.layers.Normalization(mean=encoder.mean, variance=np.square(encoder.scale), name="normalized")(features)
    x = keras.layers.Conv1D(config.conv_units, config.conv_width, padding="causal", activation="relu", name="conv")(x)
    x = keras.layers.Dropout(config.dropout, name="conv_dropout")(x)
    x = recurrent_layers(config, x)
    logits = keras.layers.Dense(len(encoder.labels), name="logits")(x)
    return keras.Model({"features": features}, logits, name="keyword_spotter")
