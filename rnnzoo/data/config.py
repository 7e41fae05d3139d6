"""What a data section of an experiment may say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataConfig:
    """Which data a model is trained on, and how its words become numbers.

    Args:
        dataset: a TFDS name (`universal_dependencies/en_ewt`, `clinc_oos`) or `conll:FOLDER`, a folder with
            `train.conllu`, `dev.conllu` and `test.conllu` (CoNLL-U: the word second, the tag fourth).
        inputs: which arrays the encoder makes: any of `words`, `chars`, `affixes`.
        min_count: words seen less often in the training split become the unknown word.
        affix_min_count: the same for prefixes, suffixes and word shapes.
        max_word_length: characters of a word that the model sees; the middle of a longer one is left out.
        limit: at most this many examples of each split, for small budgets; None takes all.
    """

    dataset: str = "universal_dependencies/en_ewt"
    inputs: tuple[str, ...] = ("words", "chars", "affixes")
    min_count: int = 2
    affix_min_count: int = 3
    max_word_length: int = 20
    limit: int | None = None
