"""Vocabularies from a training split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rnnzoo.data.config import WordsConfig
from rnnzoo.errors import DataError
from streaming.runtime.text import WordEncoder


def fit_words(texts: Sequence[Sequence[str]], labels: Iterable[str], config: WordsConfig) -> WordEncoder:
    """The encoder of a training split; frequent enough entries get a number.

    Raises:
        DataError: the configuration leaves out the words.
    """
    if "words" not in config.inputs:
        raise DataError(f"data.inputs must name words; received {list(config.inputs)}")
    return WordEncoder.fit(
        texts,
        sorted(labels),
        inputs=config.inputs,
        min_count=config.min_count,
        affix_min_count=config.affix_min_count,
        max_word_length=config.max_word_length,
    )
