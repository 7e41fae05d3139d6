"""Reads the names of the columns of a table, and finds the wanted ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streaming.errors import InputError
from streaming.runtime.tables.cells import find_delimiter, is_missing, is_number, parse_time, split_cells


class Header(NamedTuple):
    """The separator of a table, the names of its columns, and whether they are in its first line.

    Columns without names are called `column_1`, `column_2`, ..., a column whose name is left empty is called ''.
    """

    delimiter: str
    names: tuple[str, ...]
    named: bool


def read_header(text: str, given: bool | None = None, wanted: Iterable[str] = ()) -> Header:
    """The header of a table, from its first line.

    Args:
        text: the line.
        given: whether it names the columns; None: it does if it has no number.
        wanted: names that it is to hold, if they are known.

    Raises:
        InputError: the line holds names and numbers, or a name twice.
    """
    wanted = set(wanted)
    delimiter = find_delimiter(text, wanted)
    cells = split_cells(text, delimiter)
    if given is None:
        numbers = [cell for cell in cells if is_number(cell)]
        names = [cell for cell in cells if not (is_number(cell) or is_missing(cell) or parse_time(cell) is not None)]
        given = bool(names) and (not numbers or (bool(wanted) and wanted <= set(cells)))
        if names and not given:
            raise InputError(f"expected names of columns or numbers, found both ({names[0]!r} and {numbers[0]!r})")
    if not given:
        return Header(delimiter, tuple(f"column_{i}" for i in range(1, len(cells) + 1)), False)
    if twice := [name for name in cells if name and cells.count(name) > 1]:
        raise InputError(f"two columns are called {twice[0]!r}; give each a name of its own")
    return Header(delimiter, tuple(cells), True)


def choose_columns(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Places of wanted columns among all; raises InputError that names those that are missing and the nearest."""
    if missing := [name for name in wanted if name not in names]:
        import difflib  # only for this message

        near = difflib.get_close_matches(missing[0], [name for name in names if name], 1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(filter(None, names))[:120]}"
        raise InputError(f"no column {', '.join(missing)}; {hint}")
    return [names.index(name) for name in wanted]


def in_order(names: Iterable[str]) -> list[str]:
    """Names in natural order: x2 before x10. This is the default order of columns."""
    return sorted(names, key=lambda name: ([(*_part(part),) for part in re.split(r"(\d+)", name)], name))


def _part(text: str) -> tuple[int, int, str]:
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)
