"""Orders to a coffee machine: speech in which no wake word is said."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.archives import members
from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.encoders.audio import decoded
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

_NAME = "spoken_commands"
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}

register_terms(
    _NAME,
    title="Picovoice speech-to-intent benchmark (orders to a coffee machine)",
    licence="Apache-2.0",
    citation="Picovoice (2020-2023), speech-to-intent benchmark",
    url="https://github.com/Picovoice/speech-to-intent-benchmark",
)


@register_dataset(_NAME, "audio-label")
def read_commands(config: DataConfig) -> Splits:
    """288 orders of about four seconds by more than 50 voices: float32 samples, and the drink that is ordered."""

    def examples(split: str) -> Iterator[Example]:
        for row in rows(_NAME, split):
            yield decoded(row["audio"], config), row["drink"].decode()

    return {split: examples(name) for name, split in _SPLITS.items()}


class SpokenCommands(PackedFiles):
    """288 spoken orders, 16 kHz, as FLAC; Apache 2.0."""

    VERSION = "1.0.0"
    FILES = {
        "clips.tsv": "a51172b40c0482435750c748b44856d8ea77170e8fba2fdd4d0bf603eb103df7",
        "clips.tar.gz": "f60cc73dc4c3e79eda5d84728bed024598abd96db5f58a8ef3d795eac55bfc51",
    }
    MIRROR = _NAME

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        features = tfds.features.FeaturesDict({"audio": tfds.features.Text(), "drink": tfds.features.Text()})
        return self.dataset_info_from_configs(
            features=features,
            homepage="https://github.com/Picovoice/speech-to-intent-benchmark",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        paths = self.paths(dl_manager)
        return {split: self._generate_examples(paths, name) for split, name in _SPLITS.items()}

    def _generate_examples(self, paths: dict[str, Path], split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        clips = members(paths["clips.tar.gz"])
        with paths["clips.tsv"].open(encoding="utf-8", newline="") as file:
            for i, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)):
                if row["split"] == split:
                    yield i, {"audio": clips[Path(row["file"]).name], "drink": row["coffeeDrink"]}
