"""NLVR: pictures of boxes with coloured shapes, and true sentences about them (Suhr et al. 2017)."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.archives import members
from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

# One sentence in so many is for development, with all scenes that it is true of.
_SHARE = 8

register_terms(
    "nlvr_captions",
    title="NLVR, its true sentences as captions",
    licence="CC-BY-4.0",
    citation="Suhr et al. (2017), A Corpus of Natural Language for Visual Reasoning, ACL",
    url="https://github.com/lil-lab/nlvr",
)


@register_dataset("nlvr_captions", "image-captions")
def read_nlvr(config: DataConfig) -> Splits:
    """Suhr et al. 2017: pictures (100, 400, 3) and one sentence each.

    Whole sentences are dev, so that neither a scene nor a sentence of it is in train: each scene has one sentence.
    """
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for row in rows("nlvr_captions", "train"):
        held = zlib.crc32(row["caption"].decode().lower().encode()) % _SHARE == 0
        splits["dev" if held else "train"].append((row["image"], [row["caption"].decode()]))
    splits["test"] = [(row["image"], [row["caption"].decode()]) for row in rows("nlvr_captions", "test")]
    return splits


class NlvrCaptions(PackedFiles):
    """Pictures of 100 x 400 pixels; `scene` is the same for the permutations of one picture; CC BY 4.0."""

    VERSION = "1.0.0"
    FILES = {
        "dev_captions.tsv": "8e9ece67063d223c1ea37b4519b73296118244533c237ecb158cb8e6dbe7632d",
        "dev_images.tar.gz": "2a1968a6d268fcb1b471dd70696fcb08807417bbd00d5176c8c247e6f423e6b1",
        "test_captions.tsv": "488455773e3af91fa3d8c3a0293322a6ea1986b68e1d7440f9be64fb95128940",
        "test_images.tar.gz": "d84214ac914ebbf49532efa2f61679d7cf12a0b1fb3ad036550d91f66ab87609",
    }
    MIRROR = "nlvr_captions"

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        text = tfds.features.Text()
        image = tfds.features.Image(shape=(100, 400, 3), encoding_format="png")
        features = tfds.features.FeaturesDict({"image": image, "caption": text, "scene": text})
        return self.dataset_info_from_configs(
            features=features, homepage="https://github.com/lil-lab/nlvr", disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        paths = self.paths(dl_manager)
        parts = {"train": "dev", "test": "test"}
        return {
            split: self._generate_examples(paths[f"{part}_captions.tsv"], paths[f"{part}_images.tar.gz"])
            for split, part in parts.items()
        }

    def _generate_examples(self, captions: Path, images: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        pictures = members(images)
        with captions.open(encoding="utf-8", newline="") as file:
            for i, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)):
                scene = row["image"].rpartition("-")[0]
                yield i, {"image": io.BytesIO(pictures[row["image"]]), "caption": row["caption"], "scene": scene}
