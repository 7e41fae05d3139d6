"""Reads lines of text, CSV or JSON as inputs of a model."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.metadata import InputInfo
from streaming.runtime.tables import Clock, Header, NumberReader, read_header, split_cells


@dataclass(frozen=True)
class TableRow:
    """A line of a table.

    Args:
        line: its number.
        values: (width,), NaN where one is missing.
        time: as the line writes it; None where the table has no times.
        seconds: the same as a number.
    """

    line: int
    values: NDArray[Any]
    time: str | None = None
    seconds: float | None = None


class ColumnReader:
    """Lines to rows of named columns: cells after a header or in order; or JSON arrays or objects.

    Cells are separated by commas, semicolons or tabs, which the first line decides; with the last two a comma may be
    the decimal sign. A header and an object may name more columns, in any order.

    Args:
        columns: their names; empty where they have none.
        width: how many.
        time: the column of times, if there is one.
        timed: whether that column is required.
    """

    def __init__(self, columns: Sequence[str], width: int, time: str | None = None, timed: bool = False):
        self._columns, self._width, self._time, self._timed = list(columns), width, time, timed
        self._places, self._time_place = list(range(width)), -1
        self._cells, self._header = width, Header(",", (), False)
        self._numbers, self._clock = NumberReader(","), Clock(",")
        self._first, self._last = True, -math.inf

    @property
    def begun(self) -> bool:
        """Whether the first line has been read."""
        return not self._first

    @property
    def note(self) -> str | None:
        """A note for the user on how columns were identified."""
        if self._header.named and not self._columns:
            return "the columns of the model have no names: those of the input were taken in their order"
        if self._header.names and not self._header.named and self._columns and not _unnamed(self._columns):
            return f"the input has no header: its columns were taken as {', '.join(self._columns)}"
        return None

    def read(self, text: str, number: int) -> TableRow | None:
        """A row, None for a header; raises InputError where the line is no row."""
        if text.lstrip()[0] in "[{":
            row = self._json(text, number)
        else:
            if self._first and self._begin(text, number):
                return None
            row = self._row(text, number)
        if row.seconds is not None:
            if row.seconds < self._last:
                raise InputError(f"line {number}: time goes back to {row.time}; sort the rows")
            self._last = row.seconds
        return row

    def end(self) -> None:
        """End a sequence: the times of the next one may be earlier."""
        self._last = -math.inf

    def _begin(self, text: str, number: int) -> bool:
        """Take the first line; says whether it is a header."""
        try:
            header = read_header(text, None, self._columns)
        except InputError as error:
            raise self._wrong(text, number, str(error).partition(";")[0]) from error
        self._header = header
        self._numbers, self._clock = NumberReader(header.delimiter), Clock(header.delimiter)
        if header.named and self._columns:
            self._check_names(header.names, number)
        # Where nothing has a name, columns are told by their place.
        if self._columns and set(self._columns) <= set(header.names):
            self._cells = len(header.names)
            self._places = [header.names.index(name) for name in self._columns]
            self._time_place = header.names.index(self._time) if self._time in header.names else -1
        if self._timed and self._time_place < 0:
            raise InputError(f"line {number}: expected the column of times {self._time}, by which rows are resampled")
        self._first = False
        return header.named

    def _check_names(self, names: Sequence[str], number: int) -> None:
        missing = [name for name in self._columns if name not in names]
        if missing and _unnamed(self._columns):
            raise InputError(
                f"line {number} names the columns {shown(', '.join(names))}, the model was trained on a table without "
                "a header; leave the line out"
            )
        if missing:
            wanted = ", ".join(self._columns)
            near = difflib.get_close_matches(missing[0], [name for name in names if name], 1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r} by {missing[0]!r}?" if near else ""
            raise InputError(
                f"line {number} names the columns {shown(', '.join(names))}, expected {wanted} among them; "
                f"{', '.join(missing)} is missing{hint}"
            )

    def _row(self, text: str, number: int) -> TableRow:
        try:
            cells = split_cells(text, self._header.delimiter)
        except InputError as error:
            raise InputError(f"line {number}: {error}") from error
        if len(cells) != self._cells:
            raise self._wrong(text, number, f"{len(cells)} columns")
        try:
            values = self._numbers([cells[place] for place in self._places])
        except InputError as error:
            raise self._wrong(text, number, f"no numbers ({error})") from error
        if self._time_place < 0:
            return TableRow(number, np.array(values))
        time = cells[self._time_place]
        try:
            return TableRow(number, np.array(values), time, self._clock(time))
        except InputError as error:
            raise InputError(f"line {number}, column {self._time}: {error}") from error

    def _json(self, text: str, number: int) -> TableRow:
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            raise self._wrong(text, number, "no JSON") from None
        time = seconds = None
        if isinstance(record, dict):
            missing = [name for name in self._columns if name not in record]
            if missing or not self._columns:
                raise self._wrong(text, number, f"an object without {', '.join(missing) or 'known names'}")
            if self._time is not None and self._time in record:
                time = str(record[self._time])
                try:
                    seconds = self._clock(time)
                except InputError as error:
                    raise InputError(f"line {number}, {self._time}: {error}") from error
            record = [record[name] for name in self._columns]
        if self._timed and seconds is None:
            raise self._wrong(text, number, f"no object with the time {self._time}, by which rows are resampled")
        right = len(record) == self._width and all(value is None or type(value) in (int, float) for value in record)
        if not right:
            raise self._wrong(text, number, "another row")
        return TableRow(number, np.array([math.nan if v is None else v for v in record], np.float64), time, seconds)

    def _wrong(self, text: str, number: int, what: str) -> InputError:
        named = f" ({', '.join(self._columns)})" if self._columns else ""
        sign = {";": "semicolons", "\t": "tabs"}.get(self._header.delimiter, "commas")
        return InputError(
            f"line {number} is {shown(text)!r}: {what}, expected {self._cells} numbers with {sign} or a JSON array of "
            f"{self._width}{named}"
        )


def _unnamed(columns: Sequence[str]) -> bool:
    """Whether these are names of columns without one."""
    return all(re.fullmatch(r"column_\d+", name) for name in columns)


class StepReader:
    """Lines to steps: each is JSON, or numbers with commas, semicolons or tabs; a first line of names is a header.

    Args:
        inputs: of the model.
    """

    def __init__(self, inputs: Sequence[InputInfo]) -> None:
        self._inputs = inputs
        self._header: Header | None = None
        self._numbers = NumberReader(",")

    def read(self, text: str, number: int) -> Any:
        """A step as `Stream.feed` takes it, None for a header; raises InputError where the line is no step."""
        if self._inputs[0].table is not None and len(self._inputs) == 1 and self._inputs[0].shape == ():
            return np.array([text], object)
        if text[0] in "[{" or len(self._inputs) > 1:
            return self._json(text, number)
        try:
            if self._header is None:
                self._header = read_header(text)
                self._numbers = NumberReader(self._header.delimiter)
                if self._header.named:
                    return None
            cells = split_cells(text, self._header.delimiter)
            values = self._numbers(cells)
        except InputError as error:
            raise self._wrong(text, number) from error
        if "" in cells:
            raise self._wrong(text, number)
        info = self._inputs[0]
        if len(values) != math.prod(info.shape):
            raise self._wrong(text, number)
        array = np.array(values).reshape((1, *info.shape))
        return _whole(array) if np.dtype(info.graph.dtype).kind in "iub" else array

    def _json(self, text: str, number: int) -> Any:
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            raise self._wrong(text, number) from None
        names = [info.name for info in self._inputs]
        if isinstance(record, dict):
            if set(record) != set(names):
                raise InputError(f"line {number} has {sorted(record)}, expected the inputs {sorted(names)}")
            values = {info.name: self._array(record[info.name], info, text, number) for info in self._inputs}
            return values if len(names) > 1 else values[names[0]]
        if len(names) > 1:
            raise self._wrong(text, number)
        return self._array(record, self._inputs[0], text, number)

    def _array(self, value: Any, info: InputInfo, text: str, number: int) -> NDArray[Any]:
        try:
            array = np.array(value)
        except ValueError:
            raise self._wrong(text, number) from None
        if array.dtype.kind not in ("fiub" if info.table is None else "iuU") or array.shape != tuple(info.shape):
            raise self._wrong(text, number)
        return array[None] if info.time else array

    def _wrong(self, text: str, number: int) -> InputError:
        if len(self._inputs) > 1:
            shapes = ", ".join(f"{info.name} {list(info.shape)}" for info in self._inputs)
            return InputError(f"line {number} is {shown(text)!r}, expected a JSON object with {shapes}")
        shape = list(self._inputs[0].shape)
        return InputError(
            f"line {number} is {shown(text)!r}, expected one step: a JSON array of shape {shape}, or its "
            f"{math.prod(shape)} numbers with commas"
        )


def shown(text: str) -> str:
    """The beginning of a text."""
    return text if len(text) <= 60 else text[:57] + "..."


def _whole(array: NDArray[Any]) -> NDArray[Any]:
    """Integers where all values are whole; else as they are, for the stream to refuse."""
    return array.astype("int64") if np.array_equal(array, np.round(array)) and np.isfinite(array).all() else array
