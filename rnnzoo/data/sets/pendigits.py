"""Digits written by hand on a tablet, as the pen moves (Alimoglu and Alpaydin 1997)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

_NAME = "pendigits"
_SPLITS = ("train", "test")
# The last four of the 30 writers of `train` are for development.
_DEV_WRITERS = range(27, 31)

register_terms(
    _NAME,
    title="Pen-Based Recognition of Handwritten Digits",
    licence="CC-BY-4.0",
    citation=(
        "Alimoglu and Alpaydin (1997), Combining Multiple Representations and Classifiers for Pen-based Handwritten "
        "Digit Recognition, ICDAR"
    ),
    url="https://archive.ics.uci.edu/dataset/81/pen+based+recognition+of+handwritten+digits",
)


@register_dataset(_NAME, "rows-label")
def read_pendigits(config: DataConfig) -> Splits:
    """10,992 digits by 44 people: a row (dx, dy, x, y, lift) each 100 ms, and the digit; other people wrote test.

    dx and dy are the movement of the pen since the row before, 0 in the first row, x and y its place from the first row
    on, all in units of a tablet of 500; lift is 1 in the last row of a stroke.
    """
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for split in _SPLITS:
        for row in rows(_NAME, split):
            part = "dev" if split == "train" and row["writer"] in _DEV_WRITERS else split
            points = row["points"].astype(np.float32)
            places = points[:, :2] - points[:1, :2]
            moves = np.diff(places, axis=0, prepend=places[:1])
            splits[part].append((np.concatenate([moves, places, points[:, 2:]], axis=1), str(row["digit"])))
    return splits


class Pendigits(PackedFiles):
    """Points (N, 3) of a digit: x, y (0 to 500, y upwards) and whether the pen is lifted after it; CC BY 4.0."""

    VERSION = "1.0.0"
    FILES = {"pendigits_orig.npz": "3cbbc3e22a002d6fdd1c556fa582485fa08ad600423e5f24126cba503e0dcb65"}
    MIRROR = _NAME

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        points = tfds.features.Tensor(shape=(None, 3), dtype=np.int16)
        features = tfds.features.FeaturesDict({"points": points, "digit": np.int64, "writer": np.int64})
        return self.dataset_info_from_configs(
            features=features,
            homepage="https://archive.ics.uci.edu/dataset/81/pen+based+recognition+of+handwritten+digits",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        path = self.paths(dl_manager)["pendigits_orig.npz"]
        return {split: self._generate_examples(path, split) for split in _SPLITS}

    def _generate_examples(self, path: Path, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        with np.load(path, allow_pickle=False) as arrays:
            lengths, digits, writers = (arrays[f"{split}_{name}"] for name in ("lengths", "labels", "writers"))
            digit_points = np.split(arrays[f"{split}_points"], np.cumsum(lengths)[:-1])
        for i, points in enumerate(digit_points):
            yield i, {"points": points, "digit": int(digits[i]), "writer": int(writers[i])}
