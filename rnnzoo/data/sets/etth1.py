"""ETTh1: hourly load and oil temperature of an electricity transformer (Zhou et al. 2021)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.data.builder import DownloadedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Splits, register_dataset
from rnnzoo.data.terms import register_terms

_SOURCE = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small"
COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
_MONTH = 30 * 24

register_terms(
    "etth1",
    title="ETTh1, electricity transformer temperature",
    licence="CC-BY-ND-4.0",
    citation="Zhou et al. (2021), Informer: Beyond Efficient Transformer for Long Sequence Time-Series Forecasting, "
    "AAAI",
    url="https://github.com/zhouhaoyi/ETDataset",
)


@register_dataset("etth1", "series")
def read_etth1(config: DataConfig) -> Splits:
    """Zhou et al. 2021, 12, 4 and 4 months.

    An example is all rows (T, 7) up to the end of the split, and the number of the first row to be forecast.
    """
    values = np.array([row["values"] for row in rows("etth1", "train")], np.float32)
    borders = {"train": (0, 12), "dev": (12, 16), "test": (16, 20)}
    return {split: [(values[: end * _MONTH], begin * _MONTH)] for split, (begin, end) in borders.items()}


class Etth1(DownloadedFiles):
    """One row an hour, in order; CC BY-ND 4.0."""

    VERSION = "1.0.0"
    FILES = {"ETTh1.csv": f"{_SOURCE}/ETTh1.csv"}
    MIRROR = "etth1"

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

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
