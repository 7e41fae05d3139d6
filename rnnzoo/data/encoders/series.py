"""Series of rows of numbers, and how far ahead a model looks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnnzoo.data.encoders.rows import RowEncoder
from streaming.errors import ArtifactError

_FILE = "series.json"


@dataclass(frozen=True)
class SeriesEncoder(RowEncoder):
    """A `RowEncoder` that knows the rows before and after: `context` and `horizon`, and the quantiles, if any."""

    context: int = 2
    horizon: int = 1
    quantiles: tuple[float, ...] = ()

    def to_files(self) -> dict[str, bytes]:
        settings = {"context": self.context, "horizon": self.horizon, "quantiles": self.quantiles}
        return {**super().to_files(), _FILE: json.dumps(settings).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> SeriesEncoder:
        found: Any = super().from_files(files)
        try:
            known = json.loads(files[_FILE])
            quantiles = tuple(map(float, known["quantiles"]))
            context, horizon = int(known["context"]), int(known["horizon"])
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{_FILE} is missing or damaged ({error}); take the files of one run") from error
        return dataclasses.replace(found, context=context, horizon=horizon, quantiles=quantiles)
