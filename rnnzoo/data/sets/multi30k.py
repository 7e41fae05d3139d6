"""Multi30k, task 1: descriptions of pictures in English and German (Elliott et al. 2016)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.builder import DownloadedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.languages import languages
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

_SOURCE = "https://github.com/multi30k/dataset/raw/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw"
# Split of TFDS -> beginning of the names of its files.
_SPLITS = {"train": "train", "validation": "val", "test": "test_2016_flickr", "test_2017": "test_2017_flickr"}

register_terms(
    "multi30k",
    title="Multi30k",
    licence="LicenseRef-Flickr30K",
    citation="Elliott et al. (2016), Multi30K: Multilingual English-German Image Descriptions, VL",
    url="https://github.com/multi30k/dataset",
)


@register_dataset("multi30k/", "text-text")
def read_multi30k(config: DataConfig) -> Splits:
    """`multi30k/en-de` or `multi30k/de-en`; the test split is test2016 (Elliott et al. 2016)."""
    source, target = languages(config.dataset)

    def examples(split: str) -> Iterator[Example]:
        for row in rows("multi30k", split):
            yield row[source].decode(), row[target].decode()

    return {"train": examples("train"), "dev": examples("validation"), "test": examples("test")}


class Multi30k(DownloadedFiles):
    """Pairs of sentences; for non-commercial research and education only, as the terms of Flickr30K say."""

    VERSION = "1.0.0"
    FILES = {f"{name}.{code}.gz": f"{_SOURCE}/{name}.{code}.gz" for name in _SPLITS.values() for code in ("en", "de")}
    MIRROR = "multi30k"

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        features = tfds.features.FeaturesDict({"en": tfds.features.Text(), "de": tfds.features.Text()})
        return self.dataset_info_from_configs(features=features, homepage="https://github.com/multi30k/dataset")

    def _split_generators(self, dl_manager: Any) -> Any:
        paths = self.paths(dl_manager)
        return {
            split: self._generate_examples(paths[f"{name}.en.gz"], paths[f"{name}.de.gz"])
            for split, name in _SPLITS.items()
        }

    def _generate_examples(self, english: Path, german: Path) -> Iterator[tuple[int, dict[str, str]]]:
        pairs = zip(_lines(english), _lines(german), strict=True)
        for i, (source, target) in enumerate(pairs):
            yield i, {"en": source, "de": target}


def _lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()
