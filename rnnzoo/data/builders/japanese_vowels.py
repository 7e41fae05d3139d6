"""Japanese vowels: nine speakers told apart by cepstral coefficients (Kudo, Toyama and Shimbo 1999)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rnnzoo.data.builder import DownloadedBuilder

_COMMIT = "a101ddc8b35a65441609b45c9bcce5aeafa0c131"
_SOURCE = f"https://raw.githubusercontent.com/aeon-toolkit/aeon/{_COMMIT}/aeon/datasets/data/JapaneseVowels"
_SPLITS = {"train": "JapaneseVowels_TRAIN.ts", "test": "JapaneseVowels_TEST.ts"}
CHANNELS = 12


class JapaneseVowels(DownloadedBuilder):
    """Utterances of 7 to 29 steps of 12 coefficients; CC BY 4.0."""

    VERSION = tfds.core.Version("1.0.0")
    FILES = {name: f"{_SOURCE}/{name}" for name in _SPLITS.values()}
    MIRROR = "japanese_vowels"

    def _info(self) -> Any:
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
