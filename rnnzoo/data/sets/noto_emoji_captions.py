"""Noto emoji and their Unicode names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.archives import members
from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

_SPLITS = {"train": "train", "validation": "val", "test": "test"}

register_terms(
    "noto_emoji_captions",
    title="Noto Emoji with their Unicode names",
    licence="Apache-2.0 AND Unicode-3.0",
    citation="Google, Noto Emoji; Unicode, CLDR",
    url="https://github.com/googlefonts/noto-emoji",
)


@register_dataset("noto_emoji_captions", "image-captions")
def read_emoji(config: DataConfig) -> Splits:
    """Emoji (72, 72, 4) with transparency and their Unicode names."""

    def examples(split: str) -> Iterator[Example]:
        for row in rows("noto_emoji_captions", split):
            yield row["image"], [row["caption"].decode()]

    return {"train": examples("train"), "dev": examples("validation"), "test": examples("test")}


class NotoEmojiCaptions(PackedFiles):
    """Pictures of 72 x 72 pixels with transparency; pictures Apache 2.0, names under the Unicode licence."""

    VERSION = "1.0.0"
    FILES = {
        "captions.tsv": "1b659fb06c3be3b1f4771611de8b57cd2394a64a3164cdcfa8c37b8797cd12d2",
        "png72.tar.gz": "fdcf8b525043acf8a45a03fefedce68ed86b86a1ee021d9cb75270f33b7254a7",
    }
    MIRROR = "noto_emoji_captions"

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        image = tfds.features.Image(shape=(72, 72, 4), encoding_format="png")
        features = tfds.features.FeaturesDict({"image": image, "caption": tfds.features.Text()})
        return self.dataset_info_from_configs(
            features=features, homepage="https://github.com/googlefonts/noto-emoji", disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        paths = self.paths(dl_manager)
        return {
            split: self._generate_examples(paths["captions.tsv"], paths["png72.tar.gz"], name)
            for split, name in _SPLITS.items()
        }

    def _generate_examples(self, captions: Path, images: Path, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        pictures = members(images)
        with captions.open(encoding="utf-8", newline="") as file:
            for i, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)):
                if row["split"] == split:
                    yield i, {"image": io.BytesIO(pictures[row["image"]]), "caption": row["caption"]}
