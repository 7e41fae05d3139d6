"""Sentences of reviews, positive or negative (Kotzias et al. 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.builder import DownloadedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms
from streaming.runtime.tokenization import tokenize

_COMMIT = "40aabbbccbd0e7609dd53f7903dcd5b924838c2b"
_SOURCE = f"https://raw.githubusercontent.com/rmediero/sentiment-labelled-sentences/{_COMMIT}/data"
_SHOPS = ("amazon_cells", "imdb", "yelp")
_NAMES = ("negative", "positive")

register_terms(
    "uci_sentiment",
    title="Sentiment Labelled Sentences",
    licence="CC-BY-4.0",
    citation="Kotzias et al. (2015), From Group to Individual Labels Using Deep Features, KDD",
    url="https://archive.ics.uci.edu/dataset/331",
)


@register_dataset("uci_sentiment", "text-label")
def read_sentiment(config: DataConfig) -> Splits:
    """Kotzias et al. 2015, without an official split: of ten sentences one is for development, two for the test."""
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for i, row in enumerate(rows("uci_sentiment", "train")):
        split = {0: "dev", 1: "test", 2: "test"}.get(i % 10, "train")
        splits[split].append((tokenize(row["text"].decode()), _NAMES[row["label"]]))
    return splits


class UciSentiment(DownloadedFiles):
    """A thousand sentences each of Amazon, IMDb and Yelp; no official split; CC BY 4.0."""

    VERSION = "1.0.0"
    FILES = {f"{shop}_labelled.txt": f"{_SOURCE}/{shop}_labelled.txt" for shop in _SHOPS}
    MIRROR = "uci_sentiment_sentences"

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        label = tfds.features.ClassLabel(names=["negative", "positive"])
        features = tfds.features.FeaturesDict({"text": tfds.features.Text(), "label": label})
        return self.dataset_info_from_configs(
            features=features, homepage="https://archive.ics.uci.edu/dataset/331", disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"train": self._generate_examples(list(self.paths(dl_manager).values()))}

    def _generate_examples(self, paths: list[Path]) -> Iterator[tuple[int, dict[str, Any]]]:
        # Sentences hold U+0085, which other ways of reading lines take for the end of one.
        lines = [line for path in paths for line in path.read_bytes().decode("utf-8").split("\n") if line.strip()]
        for i, line in enumerate(lines):
            text, _, label = line.rstrip("\r").rpartition("\t")
            yield i, {"text": text.strip(), "label": int(label)}
