"""Rain, waves, clocks, helicopters, chainsaws and fires: steady sounds to lay under speech."""

from __future__ import annotations

import csv
import hashlib
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

_NAME = "noise"
_SPLITS = ("train", "test")
# One of so many original recordings of `train` is for development.
_DEV_SHARE = 5

register_terms(
    _NAME,
    title="ESC-10, six sorts of steady sound",
    licence="CC-BY-3.0 AND CC0-1.0",
    citation="Piczak (2015), ESC: Dataset for Environmental Sound Classification, ACM Multimedia",
    url="https://github.com/karolpiczak/ESC-10",
)


@register_dataset(_NAME, "audio-label")
def read_noise(config: DataConfig) -> Splits:
    """96 recordings of five seconds: float32 samples, and the sort of sound.

    Fold 1 of the source is for training and, a fifth of its original recordings, for development; fold 2 is the test.
    """
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for split in _SPLITS:
        for row in rows(_NAME, split):
            # Clips that were cut from one recording stay together.
            place = int.from_bytes(hashlib.sha256(row["url"]).digest()[:8], "big") % _DEV_SHARE
            part = "dev" if split == "train" and place == 0 else split
            splits[part].append((decoded(row["audio"], config), row["class"].decode()))
    return splits


class Noise(PackedFiles):
    """96 recordings of steady sounds, 16 kHz, as FLAC; CC BY 3.0 and CC0 1.0."""

    VERSION = "1.0.0"
    FILES = {
        "clips.tsv": "6c4192f592271f0bac2998fd634f21d6438d0a670dfd1e2a6f34a3e76a15e252",
        "noise.tar.gz": "6a5ce57f65ba4c55a7300e703d90c84f793507f817ca73c7697295be517e975d",
    }
    MIRROR = _NAME

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        text = tfds.features.Text()
        features = tfds.features.FeaturesDict({"audio": text, "class": text, "url": text})
        return self.dataset_info_from_configs(
            features=features, homepage="https://github.com/karolpiczak/ESC-10", disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        paths = self.paths(dl_manager)
        return {split: self._generate_examples(paths, split) for split in _SPLITS}

    def _generate_examples(self, paths: dict[str, Path], split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        clips = members(paths["noise.tar.gz"])
        with paths["clips.tsv"].open(encoding="utf-8", newline="") as file:
            for i, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)):
                if row["split"] == split:
                    yield i, {"audio": clips[Path(row["file"]).name], "class": row["class"], "url": row["url"]}
