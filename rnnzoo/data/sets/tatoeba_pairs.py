"""English-German sentence pairs of Tatoeba, as manythings.org collected them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.builder import DownloadedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.languages import languages
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

_SOURCE = "https://github.com/rioyshky/translation/raw/de48b7027f7318d77010a6e08ed928c10748c23d/deu-eng.zip"
# One English sentence in so many is for development, and one for the test.
_SHARE = 50

register_terms(
    "tatoeba_pairs",
    title="Tatoeba sentence pairs",
    licence="CC-BY-2.0",
    citation="tatoeba.org, by way of manythings.org/anki",
    url="https://tatoeba.org",
)


@register_dataset("tatoeba_pairs/", "text-text")
def read_tatoeba(config: DataConfig) -> Splits:
    """`tatoeba_pairs/de-en` or `tatoeba_pairs/en-de`; all translations of an English sentence are in one split."""
    source, target = languages(config.dataset)
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for row in rows("tatoeba_pairs", "train"):
        part = int.from_bytes(hashlib.sha256(row["en"]).digest()[:8], "big") % _SHARE
        splits[{0: "test", 1: "dev"}.get(part, "train")].append((row[source].decode(), row[target].decode()))
    return splits


class TatoebaPairs(DownloadedFiles):
    """All pairs in the order of the file, shortest first; CC BY 2.0, by tatoeba.org and manythings.org/anki."""

    VERSION = "1.0.0"
    FILES = {"deu-eng.zip": _SOURCE}
    MIRROR = "tatoeba_deu_eng"

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

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
