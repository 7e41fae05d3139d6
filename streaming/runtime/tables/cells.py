"""Lines to cells, and cells to numbers and times."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from streaming.errors import InputError

# What a cell without a value holds, in lower case.
MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "null", "none", "?"})
# In the order in which they decide: a comma may also be the decimal sign.
DELIMITERS = ("\t", ";", ",")
_QUOTED = re.compile(r'"[^"]*"')
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")


def find_delimiter(text: str, wanted: Iterable[str] = ()) -> str:
    """The separator of the cells in a first line: tab, semicolon or comma.

    Args:
        text: the line.
        wanted: names that a header should have; a separator that yields them is preferred.
    """
    wanted, bare = set(wanted), _QUOTED.sub("", text)
    present = [sign for sign in DELIMITERS if sign in bare]
    named = [sign for sign in present if wanted and wanted <= set(_cells_or_none(text, sign))]
    return next(iter([*named, *present]), ",")


def _cells_or_none(text: str, delimiter: str) -> list[str]:
    try:
        return split_cells(text, delimiter)
    except InputError:
        return []


def split_cells(text: str, delimiter: str) -> list[str]:
    """The cells of a line, without spaces around them; raises InputError where quotation marks do not match."""
    if '"' not in text:
        return [cell.strip() for cell in text.split(delimiter)]
    # Long documents are longer than what the module takes by itself.
    import csv  # only for quoted cells

    limit = csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    try:
        rows = list(csv.reader([text], delimiter=delimiter, strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise InputError(f"quotation marks do not match ({error}); close them, or leave them out") from error
    finally:
        csv.field_size_limit(limit)
    return [cell.strip() for cell in rows[0]]


def is_missing(cell: str) -> bool:
    """Whether a cell means a missing value."""
    return cell.lower() in MISSING


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number, with a decimal point or a decimal comma."""
    return _NUMBER.fullmatch(cell) is not None


class NumberReader:
    """Cells to numbers. A table has one decimal sign: that of the first number with one.

    Args:
        delimiter: of the table; commas are decimal only where it is another sign.
    """

    def __init__(self, delimiter: str):
        self._commas, self.decimal = delimiter != ",", ""

    def __call__(self, cells: list[str]) -> list[float]:
        """The numbers of cells, NaN where a value is missing; raises InputError that says what a cell is instead."""
        if self.decimal != ",":
            try:
                numbers = [float(cell) for cell in cells]
            except ValueError:
                return [self._read(cell) for cell in cells]
            # What Python takes beside digits: infinity, NaN and underscores.
            if all(map(math.isfinite, numbers)) and not any("_" in cell for cell in cells):
                if not self.decimal and any("." in cell for cell in cells):
                    self.decimal = "."
                return numbers
        return [self._read(cell) for cell in cells]

    def _read(self, cell: str) -> float:
        if is_missing(cell):
            return math.nan
        if not is_number(cell):
            raise InputError(f"{cell[:40]!r} is no number")
        sign = "," if "," in cell else "." if "." in cell else ""
        if sign == "," and not self._commas:
            raise InputError(f"{cell!r} has a comma in a table that commas separate; write a decimal point")
        if sign and self.decimal and sign != self.decimal:
            raise InputError(f"{cell!r} has {sign!r}, numbers before it have {self.decimal!r}; use one decimal sign")
        self.decimal = self.decimal or sign
        value = float(cell.replace(",", "."))
        if not math.isfinite(value):
            raise InputError(f"{cell[:40]!r} is larger than any number that can be stored")
        return value


def parse_time(cell: str) -> float | None:
    """Seconds of an ISO date or time, in UTC if it has no zone; None for any other cell.

    Plain numbers are not dates: `2026` may be a measured value.
    """
    if len(cell) < 8 or cell.isdecimal() or is_number(cell):
        return None
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Clock:
    """Cells to seconds: numbers, or ISO dates and times, one kind in a table.

    Args:
        delimiter: of the table.
    """

    def __init__(self, delimiter: str):
        self._numbers = NumberReader(delimiter)
        self._dates: bool | None = None

    def __call__(self, cell: str) -> float:
        """Seconds; raises InputError where a cell is no time, or of the other kind."""
        seconds = parse_time(cell)
        dates = seconds is not None
        if not dates and not is_number(cell):
            raise InputError(f"expected a number or an ISO date such as 2026-01-31 12:00:00; found {cell[:40]!r}")
        if self._dates not in (None, dates):
            raise InputError(f"expected {'a date' if self._dates else 'a number'} as before; found {cell[:40]!r}")
        self._dates = dates
        return self._numbers([cell])[0] if seconds is None else seconds
