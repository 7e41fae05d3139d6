"""English-German sentence pairs of Tatoeba, as manythings.org collected them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from rnnzoo.data.builder import DownloadedBuilder

_SOURCE = "https://github.com/rioyshky/translation/raw/de48b7027f7318d77010a6e08ed928c10748c23d/deu-eng.zip"


class TatoebaPairs(DownloadedBuilder):
    """All pairs in the order of the file, shortest first; CC BY 2.0, by tatoeba.org and manythings.org/anki."""

    VERSION = tfds.core.Version("1.0.0")
    FILES = {"deu-eng.zip": _SOURCE}
    MIRROR = "tatoeba_deu_eng"

    def _info(self) -> Any:
        features = tfds.features.FeaturesDict({"en": tfds.features.Text(), "de": tfds.features.Text()})
        return self.dataset_info_from_configs(
            features=features, homepage="https://www.manythings.org/anki", disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"train": self._generate_examples(self.paths(dl_manager)["deu-eng.zip"])}

    def _generate_examples(self, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
        with zipfile.ZipFile(path) as archive:
            lines = archive.read("deu.txt").decode("utf-8").split("\n")
        for i, line in enumerate(filter(None, lines)):
            english, german = line.rstrip("\r").split("\t")[:2]
            yield i, {"en": english, "de": german}
