"""The summarizer: a score for each sentence at its end."""

from __future__ import annotations

import keras
import numpy as np

from rnnzoo.layers import PaddedEmbedding
from rnnzoo.tasks.recurrent import recurrent_layer, recurrent_layers
from rnnzoo.tasks.summarizer.config import SummarizerConfig
from streaming.runtime.text import WordEncoder

# The word that ends a sentence.
END = "</s>"


def build_summarizer(config: SummarizerConfig, encoder: WordEncoder) -> keras.Model:
    """Words, recurrent layers over them, and one that takes a step at each end of a sentence (Nallapati et al. 2017).

    Args:
        config: sizes.
        encoder: vocabulary with the end of a sentence, two labels.

    Returns:
        A functional model; input `words` (B, T) of int32, output logits (B, T, 2), which count at ends of sentences.
    """
    words = keras.Input((None,), dtype="int32", name="words")
    ends = keras.ops.equal(words, np.int32(encoder.words.id(END)))
    layer = PaddedEmbedding(
        len(encoder.words), config.word_size, unknown_rate=config.word_dropout, name="word_embedding"
    )
    x = keras.layers.Dropout(config.dropout, name="embedded_dropout")(layer(words))
    x = recurrent_layers(config, x)
    sentences = recurrent_layer(config.cell, config.sentence_units, name="sentences")(x, mask=ends)
    x = keras.layers.Concatenate(name="sentence_in_text")([x, sentences])
    x = keras.layers.Dropout(config.dropout, name="sentences_dropout")(x)
    logits = keras.layers.Dense(len(encoder.labels), name="logits")(x)
    return keras.Model({"words": words}, logits, name="summarizer")
