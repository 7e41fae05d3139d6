"""Reads rows of numbers for a model: checked, ordered by name, filled and scaled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError
from streaming.runtime.carried import SavedSession
from streaming.runtime.model import StreamingModel
from streaming.runtime.tables import Filled, Filler, choose_columns
from streaming.runtime.tasks.schema import Scaler


class RowReader:
    """Reads rows of numbers for a model: checked, ordered by the names of their columns, scaled.

    Args:
        model: takes rows (columns,), masks included.
        spec: their description in the task.

    Raises:
        ArtifactError: these do not fit each other.
    """

    def __init__(self, model: StreamingModel, spec: Any):
        self.columns: tuple[str, ...] = spec.columns
        self.policy, self.mask = spec.missing, spec.mask
        self._scaler: Scaler | None = spec.scaler
        info = model.metadata.inputs[0]
        self.shape = tuple(info.shape)
        self.taken = int(np.prod(self.shape, dtype=int))
        # Columns of the table, and what the model takes of them.
        self.width = self.taken // 2 if self.mask else self.taken
        scaler = self._scaler
        wrong = len(self.columns) not in (0, self.width) or (scaler is not None and len(scaler.mean) != self.taken)
        if len(model.metadata.inputs) > 1 or wrong or (self.mask and self.taken % 2):
            raise ArtifactError(
                f"the model takes {len(model.metadata.inputs)} inputs, the first of {self.taken} columns; the task "
                f"names {len(self.columns)} and scales {len(scaler.mean) if scaler else 0}. Export the model anew"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The columns by name, those without one by their number."""
        return self.columns or tuple(f"column_{i}" for i in range(1, self.width + 1))

    def filler(self) -> Filler:
        """A new filler of missing values, for one sequence at a time."""
        return Filler(self.policy, self.names)

    def read(self, rows: Any) -> NDArray[Any]:
        """Rows (n, columns), or (n,) of one column, as float64; where the task fills them, a missing value is NaN.

        A mapping of columns, or a table whose `columns` have names, is taken by the names.

        Raises:
            InputError: they have another width, lack a column, or are no finite numbers.
        """
        if isinstance(rows, Mapping) or hasattr(rows, "columns"):
            rows = self._by_name(rows)
        array = np.asarray(rows)
        if array.size and array.dtype.kind not in "fiub":
            raise InputError(f"rows are {array.dtype}, expected numbers")
        if array.ndim == 1 and self.width == 1:
            array = array[:, None]
        if array.shape == (0,):
            array = array.reshape(0, self.width)
        if array.ndim != 2 or array.shape[1] not in (self.width, self.taken):
            named = f" ({', '.join(self.columns)})" if self.columns else ""
            raise InputError(f"rows have shape {array.shape}, expected (rows, {self.width}){named}")
        wrong = ~np.isfinite(array) if self.policy == "refuse" else np.isinf(array)
        if wrong.any():
            said = "NaN or infinity, expected finite numbers" if self.policy == "refuse" else "infinity"
            raise InputError(f"rows hold {said}; clean or fill them")
        return array.astype(np.float64)

    def _by_name(self, table: Any) -> NDArray[Any]:
        given = list(table) if isinstance(table, Mapping) else list(table.columns)
        if not self.columns:
            raise InputError("the columns of the model have no names; give rows as an array")
        choose_columns(given, self.columns)
        parts = [np.asarray(table[name]) for name in self.columns]
        if len({part.shape for part in parts}) > 1:
            raise InputError(f"columns have shapes {[part.shape for part in parts]}, expected one length")
        return np.stack(parts, axis=-1)

    def scaled(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The input of the model, from rows (n, columns) without a gap, masks included."""
        values = rows.astype(np.float32) if self._scaler is None else self._scaler.apply(rows)
        return values.reshape(len(rows), *self.shape)


class FilledSession(SavedSession):
    """A session of rows whose missing values are filled before the inner session takes them.

    Args:
        task: of both.
        inner: takes rows without a gap, masks included.
    """

    carries = ("_filler", "_inner")

    def __init__(self, task: Any, inner: Any):
        super().__init__(task)
        self._filler: Filler = task.reader.filler()
        self._inner = inner

    def feed(self, piece: Any) -> list[Any]:
        """The events of the rows that are complete."""
        reader = self._task.reader
        rows = reader.read(piece)
        if reader.mask and rows.shape[1] == reader.taken:
            return list(self._inner.feed(rows))
        return self._fed(self._filler.feed(rows))

    def finish(self) -> list[Any]:
        """The events of the rows that waited for a value, and the last events."""
        return [*self._fed(self._filler.finish()), *self._inner.finish()]

    def _fed(self, filled: Filled) -> list[Any]:
        rows = filled.with_mask() if self._task.reader.mask else filled.rows
        return list(self._inner.feed(rows)) if len(rows) else []


def filled(task: Any, session: Any) -> Any:
    """The session itself, or one that fills missing values where the task asks for that."""
    return session if task.reader.policy == "refuse" else FilledSession(task, session)
