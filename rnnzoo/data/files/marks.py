"""Reads the places of keywords in recordings from a table."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from rnnzoo.data.files.reading import read_lines
from rnnzoo.errors import DataError

_COLUMNS = ("file", "begin", "end", "label")


class Mark(NamedTuple):
    """A label, and where it begins and ends, in seconds."""

    label: str
    begin: float
    end: float


def read_marks(path: Path, names: list[str]) -> dict[str, list[Mark]]:
    """The marks of each recording.

    Two forms of TSV are read: one whose first row names the columns `file`, `begin`, `end` and `label`, and, for a
    single recording, rows of begin, end and label without a header, as Audacity exports labels.

    Args:
        path: of the table.
        names: of the recordings, as paths from their folder; the table may also say the last part of one.

    Raises:
        DataError: a row is malformed, or names no recording; file and line are named.
    """
    marks: dict[str, list[Mark]] = {name: [] for name in names}
    short = {Path(name).name: name for name in names}
    order: list[str] | None = None
    for number, row in enumerate(csv.reader((line for _, line in read_lines(path)), delimiter="\t"), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if order is None and {"begin", "end", "label"} <= set(cells):
            order = cells
            continue
        columns = order or list(_COLUMNS[1:])
        if len(cells) != len(columns):
            raise DataError(
                f"{path}, line {number}: expected {', '.join(columns)} with tabs between, found {len(cells)} cells"
            )
        values = dict(zip(columns, cells, strict=True))
        name = values.get("file", names[0] if len(names) == 1 else "")
        if name not in marks and name not in short:
            raise DataError(f"{path}, line {number}: expected the name of a recording, found {name!r}; name its file")
        try:
            mark = Mark(values["label"], float(values["begin"]), float(values["end"]))
        except ValueError:
            raise DataError(
                f"{path}, line {number}: expected begin and end in seconds, found {values['begin']!r} and "
                f"{values['end']!r}"
            ) from None
        if not 0 <= mark.begin < mark.end:
            raise DataError(f"{path}, line {number}: expected 0 <= begin < end, found {mark.begin} and {mark.end}")
        marks[name if name in marks else short[name]].append(mark)
    return marks
