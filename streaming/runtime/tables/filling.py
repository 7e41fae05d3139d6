"""Missing values: left out, held, interpolated, or refused, in pieces of any size."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.carried import Carrier

POLICIES = ("refuse", "drop", "hold", "interpolate")
# Rows that an interpolation waits for the next value of a column.
_MAX_WAITING = 100_000


class Filled(NamedTuple):
    """Rows (n, D) without a gap, where values were missing (n, D), and the number of each among the rows given."""

    rows: NDArray[Any]
    missing: NDArray[Any]
    numbers: NDArray[Any]

    def with_mask(self) -> NDArray[Any]:
        """Rows (n, 2 D): the values, then 1 for each that was missing and 0 for the others."""
        return np.concatenate([self.rows, self.missing.astype(np.float64)], axis=1)


class Filler(Carrier):
    """Fills one sequence of rows, in which NaN is a missing value.

    - `refuse`: a missing value is an error.
    - `drop`: a row that lacks a value is left out.
    - `hold`: a column keeps its last value.
    - `interpolate`: linearly, over the row numbers, between the values before and after; the last value is held. A row
      is given as soon as each column has a value at that row or later.

    With `hold` and `interpolate` rows before the first value of a column are left out. The result does not depend on
    the size of the pieces, bit for bit.

    Args:
        policy: one of `POLICIES`.
        columns: names of the columns D, for errors.
    """

    carries = ("_last", "_last_row", "_waiting", "_count")

    def __init__(self, policy: str, columns: tuple[str, ...] | list[str]):
        self._policy, self._columns = policy, tuple(columns)
        self.begin()

    def begin(self) -> None:
        """Forget the sequence: the next row begins another."""
        width = len(self._columns)
        self._last, self._last_row = np.full(width, np.nan), np.full(width, -1.0)
        self._waiting = np.zeros((0, width))
        # Rows given so far, those that wait not counted.
        self._count = 0

    def feed(self, rows: NDArray[Any]) -> Filled:
        """Take rows (n, D) of float64; gives those that are complete.

        Raises:
            InputError: a value is missing and the policy is `refuse`, or values are missing in too many rows.
        """
        missing = np.isnan(rows)
        if self._policy == "interpolate":
            return self._interpolated(np.concatenate([self._waiting, rows]), False)
        numbers = self._count + np.arange(len(rows))
        if self._policy == "refuse" and missing.any():
            column = self._columns[int(np.argwhere(missing)[0][1])]
            raise InputError(f"no value in column {column}; fill it, or train with data.missing=hold")
        self._count += len(rows)
        if self._policy == "hold":
            rows = self._held(rows)
        kept = ~np.isnan(rows).any(axis=1)
        return Filled(rows[kept], missing[kept], numbers[kept])

    def finish(self) -> Filled:
        """The remaining rows; the next row begins another sequence."""
        filled = self._interpolated(self._waiting, True)
        self.begin()
        return filled

    def _held(self, rows: NDArray[Any]) -> NDArray[Any]:
        known = np.concatenate([self._last[None], rows])
        # The number of the last row that has a value, column by column.
        places = np.maximum.accumulate(np.where(np.isnan(known), 0, np.arange(len(known))[:, None]), axis=0)
        held = np.take_along_axis(known, places, axis=0)
        self._last = held[-1]
        return held[1:]

    def _interpolated(self, rows: NDArray[Any], last: bool) -> Filled:
        missing, at = np.isnan(rows), self._count + np.arange(len(rows), dtype=np.float64)
        # Up to where all columns are known, or have had a later value.
        known = np.where(missing, -1, np.arange(len(rows))[:, None])
        end = len(rows) if last else int(known.max(axis=0).min()) + 1 if len(rows) else 0
        if len(rows) - end > _MAX_WAITING:
            column = self._columns[int(known.max(axis=0).argmin())]
            raise InputError(f"column {column} has had no value for {len(rows) - end} rows; hold values, or mend it")
        filled = np.empty((end, rows.shape[1]))
        for i in range(rows.shape[1]):
            filled[:, i] = self._column(i, at, rows[:, i], missing[:, i], end)
        self._count += end
        self._waiting = rows[end:]
        kept = ~np.isnan(filled).any(axis=1)
        return Filled(filled[kept], missing[:end][kept], at[:end][kept].astype(np.int64))

    def _column(self, i: int, at: NDArray[Any], values: NDArray[Any], missing: NDArray[Any], end: int) -> NDArray[Any]:
        places, known = at[~missing], values[~missing]
        if not np.isnan(self._last[i]):
            places = np.concatenate([[self._last_row[i]], places])
            known = np.concatenate([[self._last[i]], known])
        if not len(known):
            return np.full(end, np.nan)
        if (inside := places < (at[0] + end if len(at) else 0)).any():
            self._last_row[i], self._last[i] = places[inside][-1], known[inside][-1]
        return np.interp(at[:end], places, known, left=np.nan)


def fill_rows(policy: str, columns: tuple[str, ...], rows: NDArray[Any]) -> Filled:
    """A whole sequence of rows (T, D), as a `Filler` fills it piece by piece."""
    filler = Filler(policy, columns)
    parts = filler.feed(rows), filler.finish()
    return Filled(*(np.concatenate(pair) for pair in zip(*parts, strict=True)))
