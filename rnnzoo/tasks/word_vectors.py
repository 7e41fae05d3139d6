"""Words as vectors: of the word, of its characters, of its prefixes and suffixes."""

from __future__ import annotations

from typing import Any

import keras

from rnnzoo.layers import CharCNN, PaddedEmbedding
from rnnzoo.tasks.one_to_one.config import OneToOneConfig
from rnnzoo.tasks.tagger.config import TaggerConfig
from streaming.runtime.text import AFFIXES, WordEncoder


def embed_words(config: TaggerConfig | OneToOneConfig, encoder: WordEncoder) -> tuple[dict[str, Any], Any]:
    """The inputs that the encoder makes, by name, and the vectors (B, T, D) of the words; padding is zeros."""
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
    x = keras.layers.Concatenate(name="embedded")(parts) if len(parts) > 1 else parts[0]
    return inputs, keras.layers.Dropout(config.input_dropout, name="embedded_dropout")(x)
