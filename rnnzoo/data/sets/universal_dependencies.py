"""Universal Dependencies treebanks: words and their universal part-of-speech tags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import load_builder
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms
from rnnzoo.errors import DataError

_SPLITS = {"train": "train", "dev": "validation", "test": "test"}

register_terms(
    "universal_dependencies/en_ewt",
    title="Universal Dependencies English Web Treebank, release 2.10",
    licence="CC-BY-SA-4.0",
    citation="Silveira et al. (2014), A Gold Standard Dependency Corpus for English, LREC",
    url="https://github.com/UniversalDependencies/UD_English-EWT",
)


@register_dataset("universal_dependencies/", "words-tags")
def read_treebank(config: DataConfig) -> Splits:
    """`universal_dependencies/TREEBANK`, by the builder of TFDS."""
    import tensorflow_datasets as tfds

    builder = load_builder(config.dataset)
    names = builder.info.features["upos"].feature.names

    def rows(split: str) -> Iterator[Example]:
        for row in tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False)):
            # Ranges of words written as one ("don't") and copied words have no head and are no words.
            kept = [i for i, head in enumerate(row["head"]) if head != b"None"]
            if kept:
                words = [row["tokens"][i].decode() for i in kept]
                yield words, [names[row["upos"][i]] for i in kept]

    return {ours: rows(_split(builder, theirs)) for ours, theirs in _SPLITS.items()}


def _split(builder: Any, split: str) -> str:
    if split in builder.info.splits:
        return split
    if split == "validation" and "dev" in builder.info.splits:
        return "dev"
    raise DataError(f"{builder.name} has no split {split!r}; it has {', '.join(builder.info.splits)}")
