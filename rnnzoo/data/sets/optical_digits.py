"""Digits written by hand as pictures of 8 x 8 pixels (Alpaydin & Kaynak 1998), as scikit-learn holds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.builder import FileBuilder
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Splits, register_dataset
from rnnzoo.data.terms import register_terms

_NAME, _PAGE = "optical_digits", "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits"
# The last of the 1,797 pictures are for the test, those before them for development.
_ENDS = {"train": (0, 1297), "validation": (1297, 1437), "test": (1437, 1797)}
_BRIGHTEST = 16.0

register_terms(
    _NAME,
    title="Optical Recognition of Handwritten Digits",
    licence="CC-BY-4.0",
    citation="Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository",
    url=_PAGE,
)


@register_dataset(_NAME, "rows-label")
def read_optical_digits(config: DataConfig) -> Splits:
    """1,797 digits: eight rows of eight pixels from 0 to 1, and the digit."""
    names = {"train": "train", "dev": "validation", "test": "test"}
    return {
        part: [(row["pixels"].astype(np.float32) / _BRIGHTEST, str(row["digit"])) for row in rows(_NAME, split)]
        for part, split in names.items()
    }


def pictures(split: str) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The pictures (N, 8, 8), from 0 to 1, and digits (N,) of a split of the builder, without preparing it."""
    pixels, digits = _pixels(split)
    return pixels / np.float32(_BRIGHTEST), digits


def _pixels(split: str) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    from sklearn.datasets import load_digits

    begin, end = _ENDS[split]
    held = load_digits()
    return held.images[begin:end].astype(np.float32), held.target[begin:end].astype(np.int32)


class OpticalDigits(FileBuilder):
    """Pixels (8, 8) of 0 to 16, and the digit; CC BY 4.0."""

    VERSION = "1.0.0"
    FILES = {}

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        pixels = tfds.features.Tensor(shape=(8, 8), dtype=np.uint8)
        features = tfds.features.FeaturesDict({"pixels": pixels, "digit": np.int64})
        return self.dataset_info_from_configs(features=features, homepage=_PAGE, disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> Any:
        return {split: self._generate_examples(split) for split in _ENDS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, (pixels, digit) in enumerate(zip(*_pixels(split), strict=True)):
            yield i, {"pixels": pixels.astype(np.uint8), "digit": int(digit)}
