"""The next token of a text."""

from __future__ import annotations

import keras

from rnnzoo.data.encoders.text import TextEncoder
from rnnzoo.tasks.generator.config import GeneratorConfig
from rnnzoo.tasks.recurrent import recurrent_layers


def build_generator(config: GeneratorConfig, encoder: TextEncoder) -> keras.Model:
    """Token vectors, recurrent layers, logits of the next token (Mikolov et al. 2010; Zaremba et al. 2014).

    Args:
        config: sizes.
        encoder: vocabulary of V entries.

    Returns:
        A functional model; input `tokens` (B, T) of int32, output logits (B, T, V).
    """
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(len(encoder.labels), config.token_size, name="token_embedding")(tokens)
    x = keras.layers.Dropout(config.dropout, name="embedded_dropout")(x)
    x = recurrent_layers(config, x, residual=True)
    logits = keras.layers.Dense(len(encoder.labels), name="logits")(x)
    return keras.Model({"tokens": tokens}, logits, name="generator")
