"""A few photographs of COCO 2017 under free licences, with five captions each (Lin et al. 2014)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.archives import members
from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

_SPLITS = {"train": "train2017", "validation": "val2017"}

register_terms(
    "coco_cc_photos",
    title="Photographs of COCO 2017 under free licences",
    licence="CC-BY-4.0 AND CC-BY-2.0 AND CC-BY-SA-2.0",
    citation="Lin et al. (2014), Microsoft COCO: Common Objects in Context, ECCV",
    url="https://cocodataset.org",
)


@register_dataset("coco_cc_photos", "image-captions")
def read_photos(config: DataConfig) -> Splits:
    """Photographs of any size with five captions each; too few for more than tests, and dev is test."""

    def examples(split: str) -> Iterator[Example]:
        for row in rows("coco_cc_photos", split):
            yield row["image"], [caption.decode() for caption in row["captions"]]

    return {"train": examples("train"), "dev": examples("validation"), "test": examples("validation")}


class CocoCcPhotos(PackedFiles):
    """Photographs of at most 320 pixels a side, scaled down; CC BY and CC BY-SA, `credit` is the URL to give."""

    VERSION = "1.0.0"
    FILES = {
        "captions.json": "19edf40e484ef2281fe01254a25cff525a39efce995fe0a1f4789658c2dbf4e6",
        "images.tar.gz": "3435f9c8db2cff562250120c4373432f94d55d5cba8cb5523bfcbedf82a889ff",
    }
    MIRROR = "coco_cc_photos"

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        text = tfds.features.Text()
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                "captions": tfds.features.Sequence(text),
                "credit": text,
            }
        )
        return self.dataset_info_from_configs(
            features=features, homepage="https://cocodataset.org", disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        paths = self.paths(dl_manager)
        return {
            split: self._generate_examples(paths["captions.json"], paths["images.tar.gz"], name)
            for split, name in _SPLITS.items()
        }

    def _generate_examples(self, captions: Path, images: Path, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        content, pictures = json.loads(captions.read_text(encoding="utf-8")), members(images)
        for image in content["images"]:
            if image["split"] == split:
                said = [row["caption"] for row in content["annotations"] if row["image_id"] == image["id"]]
                picture = io.BytesIO(pictures[image["file_name"]])
                yield image["id"], {"image": picture, "captions": said, "credit": image["flickr_url"]}
