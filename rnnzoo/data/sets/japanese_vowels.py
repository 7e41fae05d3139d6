"""Japanese vowels: nine speakers, identified by cepstral coefficients (Kudo, Toyama and Shimbo 1999)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.data.builder import DownloadedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

_COMMIT = "a101ddc8b35a65441609b45c9bcce5aeafa0c131"
_SOURCE = f"https://raw.githubusercontent.com/aeon-toolkit/aeon/{_COMMIT}/aeon/datasets/data/JapaneseVowels"
_SPLITS = {"train": "JapaneseVowels_TRAIN.ts", "test": "JapaneseVowels_TEST.ts"}
CHANNELS = 12

register_terms(
    "japanese_vowels",
    title="Japanese Vowels",
    licence="CC-BY-4.0",
    citation=(
        "Kudo, Toyama and Shimbo (1999), Multidimensional Curve Classification Using Passing-Through Regions, "
        "Pattern Recognition Letters 20"
    ),
    url="https://archive.ics.uci.edu/dataset/128/japanese+vowels",
)


@register_dataset("japanese_vowels", "rows-label")
def read_vowels(config: DataConfig) -> Splits:
    """Kudo et al. 1999: 7 to 29 rows of 12 coefficients, and the speaker; every fifth of train is dev."""

    def examples(split: str) -> list[Example]:
        return [(row["rows"], row["speaker"].decode()) for row in rows("japanese_vowels", split)]

    known = examples("train")
    return {"train": [row for i, row in enumerate(known) if i % 5], "dev": known[::5], "test": examples("test")}


class JapaneseVowels(DownloadedFiles):
    """Utterances of 7 to 29 steps of 12 coefficients; CC BY 4.0."""

    VERSION = "1.0.0"
    FILES = {name: f"{_SOURCE}/{name}" for name in _SPLITS.values()}
    MIRROR = "japanese_vowels"

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        rows = tfds.features.Tensor(shape=(None, CHANNELS), dtype=np.float32)
        features = tfds.features.FeaturesDict({"rows": rows, "speaker": tfds.features.Text()})
        return self.dataset_info_from_configs(
            features=features,
            homepage="https://archive.ics.uci.edu/dataset/128/japanese+vowels",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        paths = self.paths(dl_manager)
        return {split: self._generate_examples(paths[name]) for split, name in _SPLITS.items()}

    def _generate_examples(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        _, _, data = path.read_text(encoding="utf-8").partition("@data\n")
        for i, line in enumerate(data.split("\n")):
            if line.strip():
                *channels, speaker = line.strip().split(":")
                rows = np.array([channel.split(",") for channel in channels], np.float32).T
                yield i, {"rows": rows, "speaker": speaker}
