"""A label for a whole sequence."""

from __future__ import annotations

import keras

from rnnzoo.layers import PaddedEmbedding
from rnnzoo.models.config import ClassifierConfig
from rnnzoo.models.recurrent import recurrent_layer
from streaming.runtime.text import WordEncoder


def build_classifier(config: ClassifierConfig, encoder: WordEncoder) -> keras.Model:
    """A many-to-one classifier: word vectors, recurrent layers, logits of the last state.

    Args:
        config: sizes.
        encoder: vocabulary and labels L.

    Returns:
        A functional model; input `words` (B, T) of int32, output logits (B, L). It reads all T steps:
        sequences of one batch have one length.
    """
    words = keras.Input((None,), dtype="int32", name="words")
    rate = config.word_dropout
    x = PaddedEmbedding(len(encoder.words), config.word_size, unknown_rate=rate, name="word_embedding")(words)
    x = keras.layers.Dropout(config.dropout, name="embedded_dropout")(x)
    for i in range(config.layers):
        last = i == config.layers - 1
        x = recurrent_layer(config.cell, config.units, name=f"recurrent_{i}", return_sequences=not last)(x)
        x = keras.layers.Dropout(config.dropout, name=f"recurrent_{i}_dropout")(x)
    logits = keras.layers.Dense(len(encoder.labels), name="logits")(x)
    return keras.Model({"words": words}, logits, name="classifier")
