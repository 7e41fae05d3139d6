"""The next token of a text with a style."""

from __future__ import annotations

import keras

from rnnzoo.data.encoders.text import TextEncoder
from rnnzoo.layers import Latch
from rnnzoo.tasks.recurrent import recurrent_layers
from rnnzoo.tasks.styled_generator.config import StyledGeneratorConfig
from rnnzoo.tasks.styled_generator.styles import style_numbers
from streaming.runtime.codec import START


def build_styled_generator(config: StyledGeneratorConfig, encoder: TextEncoder) -> keras.Model:
    """A generator of which each text begins with the token of its style (Keskar et al. 2019, CTRL).

    The vector of the latest such token stands beside the token of each step, and beside the state that gives the
    logits: read once, it would be forgotten. After the start token it is that of no style.

    Args:
        config: sizes.
        encoder: vocabulary of V entries, the last of them those of the styles.

    Returns:
        A functional model; input `tokens` (B, T) of int32, output logits (B, T, V).
    """
    styles = style_numbers(encoder)
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    told = Latch(min(styles.values()), START, name="told")(tokens)
    style = keras.layers.Embedding(len(styles) + 1, config.style_size, name="style_embedding")(told)
    x = keras.layers.Embedding(len(encoder.labels), config.token_size, name="token_embedding")(tokens)
    x = keras.layers.Dropout(config.dropout, name="embedded_dropout")(x)
    x = recurrent_layers(config, keras.layers.Concatenate(name="step")([x, style]), residual=True)
    x = keras.layers.Concatenate(name="read")([x, style])
    logits = keras.layers.Dense(len(encoder.labels), name="logits")(x)
    return keras.Model({"tokens": tokens}, logits, name="styled_generator")
