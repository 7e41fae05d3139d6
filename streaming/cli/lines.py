"""Lines of text, CSV or JSON as what a model takes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.metadata import InputInfo


def texts(lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, decoded, without the line break; raises InputError where one is not UTF-8."""
    for number, line in enumerate(lines, 1):
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(f"line {number} is not UTF-8 ({error.reason}); convert the file to UTF-8") from error


class ColumnReader:
    """Lines to rows of named columns: numbers with commas, after a header or in order; or JSON arrays or objects.

    A header and an object may name more columns, in any order.

    Args:
        columns: their names; empty where they have none.
        width: how many.
    """

    def __init__(self, columns: Sequence[str], width: int):
        self._columns, self._width = list(columns), width
        self._places: list[int] | None = None
        self._cells = width

    def read(self, text: str, number: int) -> NDArray[Any] | None:
        """A row (width,), None for a header; raises InputError where the line is no row."""
        if text.lstrip()[0] in "[{":
            return self._json(text, number)
        cells = [cell.strip().strip('"') for cell in text.split(",")]
        if number == 1 and not all(map(is_number, cells)) and (self._columns or not any(map(is_number, cells))):
            self._header(cells)
            return None
        if len(cells) != self._cells:
            raise self._wrong(text, number, f"{len(cells)} columns")
        chosen = cells if self._places is None else [cells[place] for place in self._places]
        if not all(map(is_number, chosen)):
            raise self._wrong(text, number, "no numbers")
        return np.array([float(cell) for cell in chosen])

    def _header(self, cells: list[str]) -> None:
        self._cells = len(cells)
        if self._columns:
            missing = [name for name in self._columns if name not in cells]
            if missing:
                raise InputError(
                    f"line 1 names the columns {shown(', '.join(cells))}, expected {', '.join(self._columns)} among "
                    f"them; {', '.join(missing)} is missing"
                )
            self._places = [cells.index(name) for name in self._columns]

    def _json(self, text: str, number: int) -> NDArray[Any]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise self._wrong(text, number, "no JSON") from None
        if isinstance(found, dict):
            missing = [name for name in self._columns if name not in found]
            if missing or not self._columns:
                raise self._wrong(text, number, f"an object without {', '.join(missing) or 'known names'}")
            found = [found[name] for name in self._columns]
        if len(found) != self._width or not all(type(value) in (int, float) for value in found):
            raise self._wrong(text, number, "another row")
        return np.array(found, np.float64)

    def _wrong(self, text: str, number: int, what: str) -> InputError:
        named = f" ({', '.join(self._columns)})" if self._columns else ""
        return InputError(
            f"line {number} is {shown(text)!r}: {what}, expected {self._cells} numbers with commas or a JSON array of "
            f"{self._width}{named}"
        )


class StepReader:
    """Lines to steps: each is JSON, or numbers with commas; a first line without any number is a header.

    Args:
        inputs: of the model.
    """

    def __init__(self, inputs: Sequence[InputInfo]) -> None:
        self._inputs = inputs

    def read(self, text: str, number: int) -> Any:
        """A step as `Stream.feed` takes it, None for a header; raises InputError where the line is no step."""
        if self._inputs[0].table is not None and len(self._inputs) == 1 and self._inputs[0].shape == ():
            return np.array([text], object)
        if text[0] in "[{" or len(self._inputs) > 1:
            return self._json(text, number)
        cells = [cell.strip() for cell in text.split(",")]
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            if number == 1 and not any(map(is_number, cells)):
                return None
            raise self._wrong(text, number) from None
        info = self._inputs[0]
        if len(values) != math.prod(info.shape):
            raise self._wrong(text, number)
        array = np.array(values).reshape((1, *info.shape))
        return _whole(array) if np.dtype(info.graph.dtype).kind in "iub" else array

    def _json(self, text: str, number: int) -> Any:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise self._wrong(text, number) from None
        names = [info.name for info in self._inputs]
        if isinstance(found, dict):
            if set(found) != set(names):
                raise InputError(f"line {number} has {sorted(found)}, expected the inputs {sorted(names)}")
            values = {info.name: self._array(found[info.name], info, text, number) for info in self._inputs}
            return values if len(names) > 1 else values[names[0]]
        if len(names) > 1:
            raise self._wrong(text, number)
        return self._array(found, self._inputs[0], text, number)

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


def is_number(cell: str) -> bool:
    """Whether a cell is a number as `float` reads it."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _whole(array: NDArray[Any]) -> NDArray[Any]:
    """Integers where all values are whole; else as they are, for the stream to refuse."""
    return array.astype("int64") if np.array_equal(array, np.round(array)) and np.isfinite(array).all() else array
