"""A label for a whole sequence."""

from __future__ import annotations

from typing import Any

import keras

from rnnzoo.data.encoders.rows import RowEncoder
from rnnzoo.layers import PaddedEmbedding
from rnnzoo.tasks.classifier.config import ClassifierConfig
from rnnzoo.tasks.recurrent import recurrent_layers


def build_classifier(config: ClassifierConfig, encoder: Any) -> keras.Model:
    """A many-to-one classifier: word vectors or rows of numbers, recurrent layers, logits of the last state.

    Args:
        config: sizes.
        encoder: a `WordEncoder` or a `RowEncoder`, with labels L.

    Returns:
        A functional model; input `words` (B, T) of int32 or `rows` (B, T, D), output logits (B, L). It reads all T
        steps: sequences of one batch have one length.
    """
    if isinstance(encoder, RowEncoder):
        inputs = {"rows": keras.Input((None, encoder.width), name="rows")}
        x = inputs["rows"]
    else:
        inputs = {"words": keras.Input((None,), dtype="int32", name="words")}
        rate = config.word_dropout
        layer = PaddedEmbedding(len(encoder.words), config.word_size, unknown_rate=rate, name="word_embedding")
        x = keras.layers.Dropout(config.dropout, name="embedded_dropout")(layer(inputs["words"]))
    x = recurrent_layers(config, x, whole=True)
    logits = keras.layers.Dense(len(encoder.labels), name="logits")(x)
    return keras.Model(inputs, logits, name="classifier")
