"""A label for each word, decided a few words later."""

from __future__ import annotations

from typing import Any

import keras

from rnnzoo.layers import CharCNN, LookaheadConv, PaddedEmbedding
from rnnzoo.models.config import TaggerConfig
from rnnzoo.models.recurrent import recurrent_layer
from streaming.runtime.text import AFFIXES, WordEncoder


def build_tagger(config: TaggerConfig, encoder: WordEncoder) -> keras.Model:
    """Word, character and affix vectors; a convolution over the neighbours; recurrent layers; logits.

    The convolution comes first, so that the recurrent state already knows the words ahead, and because
    padding embeds to zeros there, which is what lies beyond the end of a sentence.

    Args:
        config: sizes.
        encoder: vocabularies, labels L, and which inputs there are.

    Returns:
        A functional model; inputs `words` (B, T), `chars` (B, T, C), `affixes` (B, T, A), those the encoder
        makes, all int32; output logits (B, T, L).
    """
    inputs, parts = _embed(config, encoder)
    x = keras.layers.Concatenate(name="embedded")(parts) if len(parts) > 1 else parts[0]
    x = keras.layers.Dropout(config.input_dropout, name="embedded_dropout")(x)
    if config.project:
        # No bias: padding stays zero.
        x = keras.layers.Dense(config.project, use_bias=False, activation="relu", name="projection")(x)
        x = keras.layers.Dropout(config.dropout, name="projection_dropout")(x)
    x = LookaheadConv(config.conv_units, config.lookahead, config.context, "relu", name="neighbours")(x)
    x = keras.layers.Dropout(config.dropout, name="neighbours_dropout")(x)
    for i in range(config.layers):
        both = config.bidirectional
        y = recurrent_layer(config.cell, config.units, name=f"recurrent_{i}", bidirectional=both)(x)
        y = keras.layers.Dropout(config.dropout, name=f"recurrent_{i}_dropout")(y)
        x = keras.layers.Add(name=f"residual_{i}")([x, y]) if x.shape[-1] == y.shape[-1] else y
    logits = keras.layers.Dense(len(encoder.labels), name="logits")(x)
    return keras.Model(inputs, logits, name="tagger")


def _embed(config: TaggerConfig, encoder: WordEncoder) -> tuple[dict[str, Any], list[Any]]:
    inputs, parts = {"words": keras.Input((None,), dtype="int32", name="words")}, []
    layer = PaddedEmbedding(
        len(encoder.words), config.word_size, unknown_rate=config.word_dropout, name="word_embedding"
    )
    parts.append(layer(inputs["words"]))
    if config.char_filters and "chars" in encoder.inputs:
        inputs["chars"] = keras.Input((None, encoder.max_word_length), dtype="int32", name="chars")
        chars = PaddedEmbedding(len(encoder.chars), config.char_size, name="char_embedding")(inputs["chars"])
        layer = CharCNN(config.char_size, config.char_filters, config.char_widths, name="char_cnn")
        parts.append(layer(chars))
    if config.affix_size and "affixes" in encoder.inputs:
        inputs["affixes"] = keras.Input((None, AFFIXES), dtype="int32", name="affixes")
        layer = PaddedEmbedding(
            len(encoder.affixes), config.affix_size, unknown_rate=config.affix_dropout, name="affix_embedding"
        )
        parts.append(layer(inputs["affixes"]))
    return inputs, parts
