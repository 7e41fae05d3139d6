"""The question answerer: statements in memory, and an answer after each word."""

from __future__ import annotations

import keras

from rnnzoo.layers import StoryMemory
from rnnzoo.tasks.question_answerer.config import QuestionAnswererConfig
from streaming.runtime.text import WordEncoder

STATEMENT, QUESTION = ".", "?"


def build_question_answerer(config: QuestionAnswererConfig, encoder: WordEncoder) -> keras.Model:
    """A `StoryMemory`, and logits of the answers.

    Args:
        config: sizes.
        encoder: vocabulary with the marks that end statements and questions, and answers L.

    Returns:
        A functional model; input `words` (B, T) of int32, of which 0 is padding at the end; output logits (B, L) of the
        answer to the last sentence.
    """
    words = keras.Input((None,), dtype="int32", name="words")
    memory = StoryMemory(
        len(encoder.words),
        config.units,
        encoder.words.id(STATEMENT),
        encoder.words.id(QUESTION),
        memories=config.memories,
        hops=config.hops,
        dropout=config.dropout,
        name="story",
    )
    x = memory(words)[:, -1]
    x = keras.layers.Dropout(config.dropout, name="answer_dropout")(x)
    logits = keras.layers.Dense(len(encoder.labels), name="logits")(x)
    return keras.Model({"words": words}, logits, name="question_answerer")


def last_only(model: keras.Model) -> keras.Model:
    """The same layers, with an answer to the last word alone: what training needs, in a fraction of the time."""
    words = keras.Input((None,), dtype="int32", name="words")
    x = model.get_layer("story")(words, whole=True)
    for name in ("answer_dropout", "logits"):
        x = model.get_layer(name)(x)
    return keras.Model({"words": words}, x, name=model.name)
