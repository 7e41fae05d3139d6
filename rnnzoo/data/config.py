"""What a data section of an experiment may say, one dataclass for each kind of input."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which data a model is trained on.

    Args:
        dataset: a name that `rnnzoo.data.known_datasets()` lists, such as `universal_dependencies/en_ewt`.
        limit: at most this many examples of each split, for small budgets; None takes all.
    """

    dataset: str
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class WordsConfig(DataConfig):
    """Texts, word by word.

    Args:
        inputs: which arrays the encoder makes: any of `words`, `chars`, `affixes`.
        min_count: words seen less often in the training split become the unknown word.
        affix_min_count: the same for prefixes, suffixes and word shapes.
        max_word_length: characters of a word that the model sees; the middle of a longer one is left out.
    """

    inputs: tuple[str, ...] = ("words", "chars", "affixes")
    min_count: int = 2
    affix_min_count: int = 3
    max_word_length: int = 20
