"""The tagger: a label for each word, decided a few words later."""

from __future__ import annotations

import keras

from rnnzoo.layers import CRF, LookaheadConv
from rnnzoo.tasks.recurrent import recurrent_layers
from rnnzoo.tasks.tagger.config import TaggerConfig
from rnnzoo.tasks.word_vectors import embed_words
from streaming.runtime.text import WordEncoder


def build_tagger(config: TaggerConfig, encoder: WordEncoder) -> keras.Model:
    """Word, character and affix vectors; a convolution over the neighbours; recurrent layers; logits.

    The convolution comes first, so that the recurrent state already knows the words ahead, and because
    padding embeds to zeros there, which is what lies beyond the end of a sentence.

    Args:
        config: sizes.
        encoder: vocabularies, labels L, and which inputs there are.

    Returns:
        A functional model; inputs `words` (B, T), `chars` (B, T, C), `affixes` (B, T, A), those the encoder
        makes, all int32; output logits (B, T, L), which a head of the kind
        `crf` only holds the chain of.
    """
    inputs, x = embed_words(config, encoder)
    if config.project:
        # No bias: padding stays zero.
        x = keras.layers.Dense(config.project, use_bias=False, activation="relu", name="projection")(x)
        x = keras.layers.Dropout(config.dropout, name="projection_dropout")(x)
    x = LookaheadConv(config.conv_units, config.lookahead, config.context, "relu", name="neighbours")(x)
    x = keras.layers.Dropout(config.dropout, name="neighbours_dropout")(x)
    x = recurrent_layers(config, x, residual=True, bidirectional=config.bidirectional)
    logits = keras.layers.Dense(len(encoder.labels), name="logits")(x)
    if config.head == "crf":
        logits = CRF(encoder.labels, name="crf")(logits)
    return keras.Model(inputs, logits, name="tagger")
