"""Tiny Shakespeare: one text a split."""

from __future__ import annotations

from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

_SPLITS = {"train": "train", "dev": "validation", "test": "test"}

register_terms(
    "tiny_shakespeare",
    title="Tiny Shakespeare",
    licence="LicenseRef-public-domain",
    citation="Karpathy (2015), char-rnn",
    url="https://github.com/karpathy/char-rnn",
)


@register_dataset("tiny_shakespeare", "text")
def read_shakespeare(config: DataConfig) -> Splits:
    """Karpathy 2015, by the builder of TFDS and in its splits: an example is (text, None)."""

    def examples(split: str) -> list[Example]:
        return [(row["text"].decode(), None) for row in rows("tiny_shakespeare", split)]

    return {ours: examples(theirs) for ours, theirs in _SPLITS.items()}
