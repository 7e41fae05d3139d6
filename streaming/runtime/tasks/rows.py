"""Reads rows of numbers for a model: checked, ordered by name, filled and scaled."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError
from streaming.runtime.carried import SavedSession
from streaming.runtime.model import StreamingModel
from streaming.runtime.tables import Filled, Filler, Resampler, choose_columns, parse_time
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
        self.resample: float | None = spec.resample
        self._time: str | None = spec.time
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

    def resampler(self) -> Resampler | None:
        """What brings rows of one sequence to even steps by their times; None where the task has no steps."""
        return Resampler(self.resample, self.width) if self.resample else None

    def timed(self, piece: Any) -> TimedRows | None:
        """The times (n,) of a piece that brings them, and its rows; None where the piece has rows alone.

        A piece brings them as `TimedRows`, or in the column that the task names for them.

        Raises:
            InputError: there is not one for each row, or they are no times.
        """
        if isinstance(piece, TimedRows):
            times, rows = piece
        elif (isinstance(piece, Mapping) or hasattr(piece, "columns")) and self._time in list(piece):
            times, rows = piece[self._time], piece
        else:
            return None
        seconds, values = np.array([as_seconds(time) for time in np.asarray(times).tolist()]), self.read(rows)
        if len(seconds) != len(values):
            raise InputError(f"there are {len(seconds)} times for {len(values)} rows; give one for each")
        return TimedRows(seconds, values)

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


class TimedRows(NamedTuple):
    """Times (n,), in seconds or ISO dates, and rows (n, columns): what the session of a task with `resample` takes."""

    times: Any
    rows: Any


def as_seconds(time: Any) -> float:
    """A time in seconds: a number, an ISO date and time, or a moment of `datetime`, without a zone as if in UTC.

    Raises:
        InputError: it is none.
    """
    if isinstance(time, datetime):
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    seconds = parse_time(time) if isinstance(time, str) else time
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not np.isfinite(seconds):
        raise InputError(f"expected times in seconds or ISO dates such as 2026-01-31 12:00:00; found {time!r:.40}")
    return float(seconds)


class RowSession(SavedSession):
    """A session that takes rows of numbers."""

    def feed_filled(self, rows: NDArray[Any], missing: NDArray[Any]) -> list[Any]:
        """The events of rows without a gap.

        Args:
            rows: as the model takes them, masks included.
            missing: (n, columns), where a value was missing.
        """
        events: list[Any] = self.feed(rows)  # type: ignore[attr-defined]
        return events


class FilledSession(SavedSession):
    """A session of rows that are brought to even steps and whose missing values are filled, where the task asks for it.

    A piece that brings its times (`RowReader.timed`) is resampled by them; rows without times are even steps already.

    Args:
        task: of both.
        inner: takes rows without a gap, masks included.
    """

    carries = ("_filler", "_resampler", "_last", "_inner")
    _resampler: Resampler | None

    def __init__(self, task: Any, inner: RowSession):
        super().__init__(task)
        self._filler: Filler = task.reader.filler()
        self._resampler = task.reader.resampler()
        # The time of the latest row.
        self._last = -np.inf
        self._inner: Any = inner

    def feed(self, piece: Any) -> list[Any]:
        """The events of the rows that are complete."""
        reader = self._task.reader
        if self._resampler is not None and (timed := reader.timed(piece)) is not None:
            return self._fed(self._filler.feed(self._resampled(self._resampler, timed)))
        rows = reader.read(piece)
        if reader.mask and rows.shape[1] == reader.taken:
            return list(self._inner.feed_filled(rows, rows[:, reader.width :] > 0))
        return self._fed(self._filler.feed(rows))

    def finish(self) -> list[Any]:
        """Those of the rows that waited for a value or for the end of their step, and the rest."""
        events = []
        if self._resampler is not None:
            events = self._fed(self._filler.feed(self._resampler.finish()[1]))
            self._last = -np.inf
        return [*events, *self._fed(self._filler.finish()), *self._inner.finish()]

    def set_threshold(self, threshold: float) -> None:
        """As `SavedSession.set_threshold`, of the inner session too."""
        super().set_threshold(threshold)
        self._inner.set_threshold(threshold)

    def _resampled(self, resampler: Resampler, timed: TimedRows) -> NDArray[Any]:
        falls = np.flatnonzero(np.diff(timed.times, prepend=self._last) < 0)
        if len(falls):
            raise InputError(f"row {falls[0] + 1} of the piece is earlier than the one before it; sort rows by time")
        rows: NDArray[Any] = resampler.feed(timed.times, timed.rows)[1]
        self._last = max(self._last, *timed.times) if len(timed.times) else self._last
        return rows

    def _fed(self, filled: Filled) -> list[Any]:
        rows = filled.with_mask() if self._task.reader.mask else filled.rows
        return list(self._inner.feed_filled(rows, filled.missing)) if len(rows) else []


def filled(task: Any, session: Any) -> Any:
    """The session itself, or one that resamples rows and fills missing values where the task asks for that."""
    plain = task.reader.policy == "refuse" and task.reader.resampler() is None
    return session if plain else FilledSession(task, session)
