"""A label for each word from that word alone."""

from __future__ import annotations

import keras

from rnnzoo.tasks.one_to_one.config import OneToOneConfig
from rnnzoo.tasks.word_vectors import embed_words
from streaming.runtime.text import WordEncoder


def build_one_to_one(config: OneToOneConfig, encoder: WordEncoder) -> keras.Model:
    """The feed-forward baseline: word, character and affix vectors, hidden layers, logits.

    Args:
        config: sizes.
        encoder: vocabularies, labels L, and which inputs there are.

    Returns:
        A functional model; inputs as those of the tagger, output logits (B, T, L); no step sees another.
    """
    inputs, x = embed_words(config, encoder)
    for i in range(config.layers):
        x = keras.layers.Dense(config.units, activation="relu", name=f"hidden_{i}")(x)
        x = keras.layers.Dropout(config.dropout, name=f"hidden_{i}_dropout")(x)
    logits = keras.layers.Dense(len(encoder.labels), name="logits")(x)
    return keras.Model(inputs, logits, name="one_to_one")
