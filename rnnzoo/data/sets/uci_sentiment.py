"""Sentences of reviews, positive or negative."""

from __future__ import annotations

from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from streaming.runtime.tokenization import tokenize

_NAMES = ("negative", "positive")


@register_dataset("uci_sentiment", "text-label")
def read(config: DataConfig) -> Splits:
    """Kotzias et al. 2015, without an official split: of ten sentences one is for development, two for the test."""
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for i, row in enumerate(rows("uci_sentiment", "train")):
        split = {0: "dev", 1: "test", 2: "test"}.get(i % 10, "train")
        splits[split].append((tokenize(row["text"].decode()), _NAMES[row["label"]]))
    return splits
