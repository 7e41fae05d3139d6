"""A user's own numbers: one long series to forecast, or many short ones with labels."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rnnzoo.data.config import DataConfig
from rnnzoo.data.files.reading import by_content, read_lines
from rnnzoo.data.source import SPLITS, Example, Splits, register_dataset
from rnnzoo.errors import DataError

# Where `dev` and `test` of a series begin.
_DEV, _TEST = 0.6, 0.8


@register_dataset("series:", "series")
def read_series(config: DataConfig) -> Splits:
    """`series:FILE.csv`: a row a step; the last fifth is `test`, the fifth before it `dev`.

    An example is all rows up to the end of the split, and the number of the first row to be forecast.
    """
    values = read_rows(Path(config.dataset.removeprefix("series:")))
    borders = [0, int(_DEV * len(values)), int(_TEST * len(values)), len(values)]
    return {split: [(values[:end], begin)] for split, begin, end in zip(SPLITS, borders[:-1], borders[1:], strict=True)}


@register_dataset("rows:", "rows-label")
def read_labelled(config: DataConfig) -> Splits:
    """`rows:FOLDER`: `FOLDER/LABEL/*.csv`, or `FOLDER/train/LABEL/*.csv` and the same for `dev` and `test`."""
    folder = Path(config.dataset.removeprefix("rows:"))
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: expected a folder of CSV files for each label")
    if not (folder / "train").is_dir():
        return by_content(_labelled(folder))
    if missing := [split for split in SPLITS if not (folder / split).is_dir()]:
        raise DataError(f"{folder} holds train, and no {' or '.join(missing)}: add it")
    return {split: _labelled(folder / split) for split in SPLITS}


def _labelled(folder: Path) -> Iterator[Example]:
    for path in sorted(folder.glob("*/*.csv")):
        yield read_rows(path), path.parent.name


def read_rows(path: Path) -> np.ndarray:
    """The numbers of a CSV file, (T, D) of float32; a first row of names and a first column of times are left out.

    Raises:
        DataError: it holds no number, a row has more or fewer than the first, or something else; the line is named.
    """
    table = csv.reader((line for _, line in read_lines(path)), strict=True)
    rows: list[list[float]] = []
    skipped = 0
    try:
        for row in table:
            if not row:
                continue
            if not rows:
                skipped = int(_number(row[0]) is None)
            numbers = [_number(cell) for cell in row[skipped:]]
            if None in numbers or not numbers or (rows and len(numbers) != len(rows[0])):
                if not rows and table.line_num == 1:
                    continue
                expected = f"{len(rows[0])} numbers" if rows else "numbers"
                raise DataError(f"{path}, line {table.line_num}: expected {expected}; found {','.join(row)[:60]!r}")
            rows.append([number for number in numbers if number is not None])
    except csv.Error as error:
        raise DataError(f"{path}, line {table.line_num}: expected CSV, and {error}") from error
    if not rows:
        raise DataError(f"{path}: expected rows of numbers; it holds none")
    return np.array(rows, np.float32)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
