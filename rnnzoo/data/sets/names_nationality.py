"""Surnames of 18 languages (Robertson 2017, the data of the PyTorch tutorial)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Splits, register_dataset
from rnnzoo.data.terms import register_terms

_NAME = "names_nationality"
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_PAGE = "https://github.com/spro/practical-pytorch"

register_terms(
    _NAME,
    title="Surnames of 18 languages",
    licence="MIT",
    citation="Robertson (2017), Practical PyTorch: Classifying Names with a Character-Level RNN",
    url=_PAGE,
)


@register_dataset(_NAME, "text-label")
def read_names(config: DataConfig) -> Splits:
    """20,050 surnames, character by character, and the language; a name is in one split, under all its languages.

    Some names belong to several languages: no model can have all of them right.
    """
    return {
        split: [(list(row["name"].decode()), row["language"].decode()) for row in rows(_NAME, name)]
        for name, split in _SPLITS.items()
    }


class NamesNationality(PackedFiles):
    """A surname and its language; split by the name; MIT."""

    VERSION = "1.0.0"
    FILES = {"names.tsv": "de6ba03d5eb1477d2834e08922a7150518b81ea92a8409a33774a79cbeda90b1"}
    MIRROR = _NAME

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        text = tfds.features.Text()
        features = tfds.features.FeaturesDict({"name": text, "language": text})
        return self.dataset_info_from_configs(features=features, homepage=_PAGE, disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> Any:
        path = self.paths(dl_manager)["names.tsv"]
        return {name: self._generate_examples(path, split) for name, split in _SPLITS.items()}

    def _generate_examples(self, path: Path, split: str) -> Iterator[tuple[int, dict[str, str]]]:
        with path.open(encoding="utf-8", newline="") as file:
            for i, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)):
                if row["split"] == split:
                    yield i, {"name": row["name"], "language": row["language"]}
