"""Chorales of J. S. Bach, four voices, a chord a quarter note (splits of Boulanger-Lewandowski et al. 2012)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.data.builder import DownloadedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

_COMMIT = "9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d"
_SOURCE = f"https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/{_COMMIT}"
_SPLITS = {"train": "train", "validation": "valid", "test": "test"}
# The 88 keys of a piano, as MIDI numbers.
LOWEST, NOTES = 21, 88

register_terms(
    "jsb_chorales",
    title="Chorales of J. S. Bach",
    licence="LicenseRef-none-stated",
    citation="Boulanger-Lewandowski et al. (2012), Modeling Temporal Dependencies in High-Dimensional Sequences, ICML",
    url="https://github.com/czhuang/JSB-Chorales-dataset",
)


@register_dataset("jsb_chorales", "rolls")
def read_chorales(config: DataConfig) -> Splits:
    """Boulanger-Lewandowski et al. 2012: piano rolls (T, 88) of zeros and ones, a row a quarter note."""

    def examples(split: str) -> Iterator[Example]:
        for row in rows("jsb_chorales", split):
            yield row["roll"].astype(np.float32), None

    return {"train": examples("train"), "dev": examples("validation"), "test": examples("test")}


class JsbChorales(DownloadedFiles):
    """A piece is a piano roll (T, 88) of zeros and ones."""

    VERSION = "1.0.0"
    FILES = {"jsb-chorales-quarter.json": f"{_SOURCE}/jsb-chorales-quarter.json"}
    MIRROR = "jsb_chorales"

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        roll = tfds.features.Tensor(shape=(None, NOTES), dtype=np.uint8)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"roll": roll}),
            homepage="https://github.com/czhuang/JSB-Chorales-dataset",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        path = self.paths(dl_manager)["jsb-chorales-quarter.json"]
        return {split: self._generate_examples(path, key) for split, key in _SPLITS.items()}

    def _generate_examples(self, path: Path, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, piece in enumerate(json.loads(path.read_text(encoding="utf-8"))[key]):
            roll = np.zeros((len(piece), NOTES), np.uint8)
            for t, pitches in enumerate(piece):
                roll[t, np.array(pitches, int) - LOWEST] = 1
            yield i, {"roll": roll}
