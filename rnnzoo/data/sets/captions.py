"""Pictures and what is said of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset

# One scene in so many is for development.
_SHARE = 10


@register_dataset("nlvr_captions", "image-captions")
def read_nlvr(config: DataConfig) -> Splits:
    """Suhr et al. 2017: pictures (100, 400, 3) and one sentence each; whole scenes of train are dev."""
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for row in rows("nlvr_captions", "train"):
        held = zlib.crc32(row["scene"]) % _SHARE == 0
        splits["dev" if held else "train"].append((row["image"], [row["caption"].decode()]))
    splits["test"] = [(row["image"], [row["caption"].decode()]) for row in rows("nlvr_captions", "test")]
    return splits


@register_dataset("noto_emoji_captions", "image-captions")
def read_emoji(config: DataConfig) -> Splits:
    """Emoji (72, 72, 4) with transparency and their Unicode names."""

    def examples(split: str) -> Iterator[Example]:
        for row in rows("noto_emoji_captions", split):
            yield row["image"], [row["caption"].decode()]

    return {"train": examples("train"), "dev": examples("validation"), "test": examples("test")}


@register_dataset("coco_cc_photos", "image-captions")
def read_photos(config: DataConfig) -> Splits:
    """Photographs of any size with five captions each; too few for more than tests, and dev is test."""

    def examples(split: str) -> Iterator[Example]:
        for row in rows("coco_cc_photos", split):
            yield row["image"], [caption.decode() for caption in row["captions"]]

    return {"train": examples("train"), "dev": examples("validation"), "test": examples("validation")}
