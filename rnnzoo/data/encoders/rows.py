"""Rows of numbers as a model takes them, scaled by the training split."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.config import RowsConfig
from rnnzoo.errors import DataError
from streaming.errors import ArtifactError
from streaming.runtime.tables import parse_step
from streaming.runtime.tasks.schema import Scaler
from streaming.runtime.text import Vocabulary

_FILE, _LABELS = "rows.json", "labels.txt"


@dataclass(frozen=True)
class RowEncoder:
    """Rows (T, D) to `rows`, z = (x - mean) / scale, and names for the outputs.

    Args:
        mean, scale: a number for each column.
        labels: names of the model's outputs, in order; none where they are no labels.
        columns: their names, or none.
    """

    inputs: ClassVar[tuple[str, ...]] = ("rows",)
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    labels: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @classmethod
    def fit(cls, train: Sequence[NDArray[Any]], config: RowsConfig, labels: Iterable[str] = ()) -> RowEncoder:
        """Fits the encoder to the rows of the training split.

        Raises:
            DataError: the rows have another number of columns than the configuration names.
        """
        rows = np.concatenate(train).astype(np.float64)
        if config.columns and len(config.columns) != rows.shape[1]:
            raise DataError(
                f"data.columns names {len(config.columns)} columns, {config.dataset!r} has {rows.shape[1]}: name all"
            )
        mean, scale = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
        if config.scale:
            mean, deviation = rows.mean(axis=0), rows.std(axis=0)
            scale = np.where(deviation > 0, deviation, 1.0)
        return cls(tuple(mean.tolist()), tuple(scale.tolist()), tuple(labels), config.columns)

    @property
    def width(self) -> int:
        """Columns D of a row."""
        return len(self.mean)

    @property
    def scaler(self) -> Scaler:
        """Scaler for the device."""
        return Scaler(self.mean, self.scale)

    def table(self, config: RowsConfig) -> dict[str, Any]:
        """Fields of a task's specification by which a device reads rows in the same way."""
        fields: dict[str, Any] = {"columns": self.measured(config)}
        if config.time is not None:
            fields["time"] = config.time
        if config.missing != "refuse":
            fields |= {"missing": config.missing, "mask": config.mask}
        if config.resample is not None:
            fields["resample"] = parse_step(config.resample)
        return fields

    def measured(self, config: RowsConfig) -> tuple[str, ...]:
        """Names of the columns without those of masks."""
        return self.columns[: self.width // 2] if config.mask else self.columns

    def encode(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """`rows` (T, D) of float32."""
        return {"rows": ((rows - np.array(self.mean)) / np.array(self.scale)).astype(np.float32)}

    def to_files(self) -> dict[str, bytes]:
        """The encoder as named files, for a saved run or an artifact."""
        settings = {"mean": self.mean, "scale": self.scale, "columns": self.columns}
        files = {_FILE: json.dumps(settings).encode()}
        if self.labels:
            files[_LABELS] = Vocabulary(self.labels).to_bytes()
        return files

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> RowEncoder:
        """Read what `to_files` wrote; raises ArtifactError where it is missing or damaged."""
        labels = Vocabulary.from_bytes(files[_LABELS]).entries if _LABELS in files else ()
        try:
            stored = json.loads(files[_FILE])
            mean, scale = (tuple(map(float, stored[name])) for name in ("mean", "scale"))
            return cls(mean, scale, labels, tuple(map(str, stored["columns"])))
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{_FILE} is missing or damaged ({error}); take the files of one run") from error
