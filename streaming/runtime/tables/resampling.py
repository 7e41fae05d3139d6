"""Resamples rows at uneven times to even steps."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.carried import Carrier

_UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_STEP = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})")
# Steps without a row, one after the other; more are most likely times in another unit.
_MAX_EMPTY = 100_000


def parse_step(text: str) -> float:
    """Seconds of a step such as `1s`, `250ms`, `15min`, `1h` or `1d`; raises InputError where it is none."""
    match = _STEP.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise InputError(f"expected a step of time such as 250ms, 1s, 15min, 1h or 1d; received {text!r}")
    return float(match[1]) * _UNITS[match[2]]


class Resampler(Carrier):
    """The mean of the rows within each step of time; NaN where a column has none.

    Steps count from time 0, so that they do not depend on where a stream begins. A step is given when a row of a later
    step comes. The result does not depend on the size of the pieces, bit for bit.

    Args:
        step: seconds.
        width: columns D.
    """

    carries = ("_bin", "_sums", "_counts")

    def __init__(self, step: float, width: int):
        self._step, self._width = step, width
        self.begin()

    def begin(self) -> None:
        """Forget the sequence: the next row begins another."""
        self._bin: int | None = None
        self._sums, self._counts = np.zeros(self._width), np.zeros(self._width)

    def feed(self, times: NDArray[Any], rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Take times (n,) in seconds, in rising order, and rows (n, D); returns times and rows of complete steps.

        Raises:
            InputError: too many steps have no row.
        """
        if not len(times):
            return np.zeros(0), np.zeros((0, self._width))
        bins = np.floor(times / self._step).astype(np.int64)
        begin = int(bins[0]) if self._bin is None else self._bin
        if np.diff(bins, prepend=begin).max() > _MAX_EMPTY:
            raise InputError(
                f"more than {_MAX_EMPTY} steps of {self._step:g} s have no row: check that times are in seconds"
            )
        count = int(bins[-1]) - begin + 1
        sums, counts = np.zeros((count, self._width)), np.zeros((count, self._width))
        sums[0], counts[0] = self._sums, self._counts
        known = ~np.isnan(rows)
        # In order, one by one: sums of pieces are those of the whole.
        np.add.at(sums, bins - begin, np.where(known, rows, 0.0))
        np.add.at(counts, bins - begin, known)
        self._bin, self._sums, self._counts = int(bins[-1]), sums[-1], counts[-1]
        return self._given(begin + np.arange(count - 1), sums[:-1], counts[:-1])

    def finish(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The last step; the next row begins another sequence."""
        if self._bin is None:
            return np.zeros(0), np.zeros((0, self._width))
        last = self._given(np.array([self._bin]), self._sums[None], self._counts[None])
        self.begin()
        return last

    def _given(self, bins: NDArray[Any], sums: NDArray[Any], counts: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        with np.errstate(invalid="ignore"):
            return bins * self._step, sums / counts


def shown_time(seconds: float, as_date: bool) -> str | float:
    """A time as a table would write it: an ISO date and time in UTC, or the number."""
    if not as_date:
        return seconds
    whole = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return whole.isoformat(sep=" ", timespec="milliseconds" if seconds % 1 else "seconds")
