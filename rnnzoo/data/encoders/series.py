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
    """A `RowEncoder` that knows the rows before and after: `context` and `horizon`, and the quantiles, if any.

    `targets` are the columns that are forecast; none: all.
    """

    context: int = 2
    horizon: int = 1
    quantiles: tuple[float, ...] = ()
    targets: tuple[str, ...] = ()

    @property
    def places(self) -> list[int]:
        """Places of the targets among the columns."""
        return [self.columns.index(name) for name in self.targets] if self.targets else list(range(self.width))

    def to_files(self) -> dict[str, bytes]:
        settings: dict[str, Any] = {"context": self.context, "horizon": self.horizon, "quantiles": self.quantiles}
        if self.targets:
            settings["targets"] = self.targets
        return {**super().to_files(), _FILE: json.dumps(settings).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> SeriesEncoder:
        encoder: Any = super().from_files(files)
        try:
            known = json.loads(files[_FILE])
            quantiles, targets = tuple(map(float, known["quantiles"])), tuple(map(str, known.get("targets", ())))
            context, horizon = int(known["context"]), int(known["horizon"])
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{_FILE} is missing or damaged ({error}); take the files of one run") from error
        return dataclasses.replace(encoder, context=context, horizon=horizon, quantiles=quantiles, targets=targets)
