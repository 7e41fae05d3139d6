"""ETTh1: hourly load and oil temperature of an electricity transformer (Zhou et al. 2021)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rnnzoo.data.builder import DownloadedBuilder

_SOURCE = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small"
COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")


class Etth1(DownloadedBuilder):
    """One row an hour, in order; CC BY-ND 4.0."""

    VERSION = tfds.core.Version("1.0.0")
    FILES = {"ETTh1.csv": f"{_SOURCE}/ETTh1.csv"}
    MIRROR = "etth1"

    def _info(self) -> Any:
        values = tfds.features.Tensor(shape=(len(COLUMNS),), dtype=np.float32)
        features = tfds.features.FeaturesDict({"date": tfds.features.Text(), "values": values})
        # Time runs through the rows.
        return self.dataset_info_from_configs(
            features=features, homepage="https://github.com/zhouhaoyi/ETDataset", disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"train": self._generate_examples(self.paths(dl_manager)["ETTh1.csv"])}

    def _generate_examples(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        with path.open(encoding="utf-8", newline="") as file:
            for i, row in enumerate(csv.DictReader(file)):
                yield i, {"date": row["date"], "values": [float(row[name]) for name in COLUMNS]}
