"""Multi30k, task 1: descriptions of pictures in English and German (Elliott et al. 2016)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from rnnzoo.data.builder import DownloadedBuilder

_SOURCE = "https://github.com/multi30k/dataset/raw/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw"
# Split of TFDS -> beginning of the names of its files.
_SPLITS = {"train": "train", "validation": "val", "test": "test_2016_flickr", "test_2017": "test_2017_flickr"}


class Multi30k(DownloadedBuilder):
    """Pairs of sentences; for non-commercial research and education only, as the terms of Flickr30K say."""

    VERSION = tfds.core.Version("1.0.0")
    FILES = {f"{name}.{code}.gz": f"{_SOURCE}/{name}.{code}.gz" for name in _SPLITS.values() for code in ("en", "de")}
    MIRROR = "multi30k"

    def _info(self) -> Any:
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
