"""Chooses the columns of a user's tables that are features, and reads their numbers."""

from __future__ import annotations

import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.config import RowsConfig
from rnnzoo.data.files.reading import reading
from rnnzoo.errors import DataError
from streaming.errors import InputError
from streaming.runtime.tables import (
    Clock,
    Header,
    NumberReader,
    choose_columns,
    in_order,
    is_missing,
    is_number,
    parse_time,
    read_header,
    records,
    split_cells,
    text_lines,
)

# Rows that tell what a column holds.
_SAMPLE = 200
_REASONS = {"text": "text", "times": "looks like times", "nothing": "no value"}
# Names of columns that are rarely measured.
_TIMES = frozenset({"time", "date", "datetime", "timestamp", "ts", "epoch", "day", "hour"})


@dataclass(frozen=True)
class Survey:
    """The first rows of a file.

    Args:
        path: of the file.
        header: of it.
        kinds: what each named column holds: `numbers`, `times`, `text` or `nothing`.
        rising: columns of numbers that look like times.
    """

    path: Path
    header: Header
    kinds: dict[str, str]
    rising: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The columns that all files of a data set are read by.

    Args:
        columns: features, in the order of the model's.
        time: the column of times, or None.
        texts: columns that are read as they are, such as labels.
        left_out: other columns, and why.
        warnings: for the user.
    """

    columns: tuple[str, ...]
    time: str | None = None
    texts: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One file.

    Args:
        path: of it.
        values: (T, D) of float64, NaN where a value is missing.
        lines: (T,), the line at which each row begins.
        times: (T,) in seconds, or None.
        texts: columns of text by their names.
    """

    path: Path
    values: NDArray[Any]
    lines: NDArray[Any]
    times: NDArray[Any] | None
    texts: dict[str, list[str]]


def plan_columns(paths: Sequence[Path], config: RowsConfig) -> tuple[Plan, dict[Path, Survey]]:
    """The columns of a data set, and the survey of each file.

    Raises:
        DataError: a file lacks a column that is named or that the first one has; file and column are named.
    """
    surveys = {path: survey(path, config) for path in paths}
    first = next(iter(surveys.values()))
    special = [name for name in (config.time, config.label, config.group) if name]
    for name in special:
        _check_named(first, [name])
    kinds: dict[str, str] = {}
    for other in surveys.values():
        for name, kind in other.kinds.items():
            kinds[name] = kind if kinds.get(name, "nothing") == "nothing" else kinds[name]
    columns = _features(first, config, kinds, special)
    left_out = {
        name: _REASONS.get(kinds[name], "not in data.columns")
        for name in in_order(kinds)
        if name not in columns and name not in special
    }
    if blank := first.header.names.count(""):
        left_out[f"{blank} without a name"] = "nameless"
    for other in surveys.values():
        _check_alike(first, other, [*columns, *special], not config.columns)
    plan = Plan(columns, config.time, tuple(filter(None, (config.label, config.group))), left_out)
    return Plan(**{**plan.__dict__, "warnings": tuple(_warnings(plan, first, kinds))}), surveys


def _features(first: Survey, config: RowsConfig, kinds: dict[str, str], special: list[str]) -> tuple[str, ...]:
    numbers = [name for name in first.header.names if name and name not in special and kinds[name] == "numbers"]
    if config.columns and set(config.columns) == {f"column_{i}" for i in range(len(config.columns))}:
        # A run made before columns were told by their names took all numbers in the order of the file.
        if len(numbers) != len(config.columns):
            raise DataError(f"{first.path}: expected {len(config.columns)} columns of numbers, found {len(numbers)}")
        return tuple(numbers)
    if config.columns:
        _check_named(first, config.columns)
        if twice := [name for name in config.columns if name in special or config.columns.count(name) > 1]:
            raise DataError(f"data.columns: {twice[0]!r} is named twice, or is the time, label or group; name it once")
        return config.columns
    if not numbers:
        raise DataError(f"{first.path}: expected rows of numbers; it holds none in {', '.join(kinds) or 'no column'}")
    return tuple(in_order(numbers))


def _check_named(first: Survey, names: Sequence[str]) -> None:
    try:
        choose_columns(first.header.names, names)
    except InputError as error:
        raise DataError(f"{first.path}: {error}") from error


def _check_alike(first: Survey, other: Survey, needed: Sequence[str], every: bool) -> None:
    """Refuse a file that lacks a column; where all columns are taken, also one that has another of numbers."""
    if other.header.named != first.header.named:
        with_names, without = (first, other) if first.header.named else (other, first)
        raise DataError(
            f"{without.path} has no header, {with_names.path} has one: give all files a header, or none, and say "
            "data.header=true where names are numbers"
        )
    _check_named(other, needed)
    numbers = {name for name, kind in other.kinds.items() if kind == "numbers"}
    if every and (more := in_order(numbers - set(needed))):
        raise DataError(
            f"{other.path} has the column {', '.join(more)}, {first.path} has not: name the columns to take by "
            f"data.columns=[{', '.join(needed)}]"
        )


def _warnings(plan: Plan, first: Survey, kinds: dict[str, str]) -> Iterator[str]:
    for name, kind in kinds.items():
        if kind == "times" and name != plan.time:
            yield f"{name} looks like a time and is left out: say data.time={name} to sort and to check by it"
    for name in first.rising:
        if name in plan.columns:
            yield (
                f"{name} rises from row to row like a time, and is a feature: say data.time={name}, or leave it out "
                "of data.columns"
            )


def survey(path: Path, config: RowsConfig) -> Survey:
    """Survey of the first rows of a file.

    Raises:
        DataError: it cannot be read, has no row, or its first line is no header and no row.
    """
    kinds: dict[str, list[str]] = {}
    with reading(path):
        rows = _rows(path, config)
        header = next(rows)
        sample = [cells for _, cells in _first(rows)]
    for place, name in enumerate(header.names):
        if name:
            kinds[name] = [row[place] for row in sample if len(row) > place]
    kind_by_name = {name: _kind(cells) for name, cells in kinds.items()}
    rising = [
        name for name, kind in kind_by_name.items() if kind == "numbers" and _rises(name, kinds[name], header.delimiter)
    ]
    return Survey(path, header, kind_by_name, tuple(rising))


def _first(rows: Iterator[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    return [row for row, _ in zip(rows, range(_SAMPLE), strict=False)]


def _kind(cells: Sequence[str]) -> str:
    held = [cell for cell in cells if not is_missing(cell)]
    if not held:
        return "nothing"
    numbers = sum(map(is_number, held))
    times = sum(parse_time(cell) is not None for cell in held)
    # A word among numbers is a mistake that the reading names, not a column of text.
    return "numbers" if numbers * 2 >= len(held) else "times" if times * 2 >= len(held) else "text"


def _rises(name: str, cells: Sequence[str], delimiter: str) -> bool:
    """Whether numbers look like times: they only rise, by equal steps or under the name of a time."""
    try:
        values = np.array(NumberReader(delimiter)(list(cells)))
    except InputError:
        return False
    steps = np.diff(values[np.isfinite(values)])
    if len(steps) < 3 or not (steps > 0).all():
        return False
    named = name.lower() in _TIMES
    # From whole seconds of 2001 on, or milliseconds: clocks write such numbers.
    clock = values[0] > 1e9 or np.ptp(steps) <= 1e-9 * abs(steps[0])
    return bool(named or clock)


def read_table(path: Path, plan: Plan, config: RowsConfig, header: Header) -> Table:
    """The numbers of a file, by the names of its columns.

    Raises:
        DataError: a row has another number of cells, or one that is no number or time; line and column are named.
    """
    values, lines, times = array.array("d"), array.array("q"), array.array("d")
    texts: dict[str, list[str]] = {name: [] for name in plan.texts}
    places, text_places = choose_columns(header.names, plan.columns), choose_columns(header.names, plan.texts)
    time_place = header.names.index(plan.time) if plan.time else -1
    clock, read = Clock(header.delimiter), NumberReader(header.delimiter)
    with reading(path):
        rows = _rows(path, config)
        next(rows)
        for number, cells in rows:
            if len(cells) != len(header.names):
                raise InputError(f"line {number}: expected {len(header.names)} columns, found {len(cells)}")
            try:
                values.extend(read([cells[place] for place in places]))
                if time_place >= 0:
                    times.append(clock(cells[time_place]))
            except InputError as error:
                raise InputError(f"line {number}: {_where(error, cells, header, plan)}") from error
            lines.append(number)
            for name, place in zip(plan.texts, text_places, strict=True):
                texts[name].append(cells[place])
    if not lines:
        raise DataError(f"{path}: expected rows of numbers; it holds none")
    shaped = np.frombuffer(values, np.float64).reshape(-1, len(places))
    return Table(path, shaped, np.frombuffer(lines, np.int64), np.frombuffer(times) if plan.time else None, texts)


def _where(error: InputError, cells: list[str], header: Header, plan: Plan) -> str:
    """The message of a cell with the name of its column."""
    for name in plan.columns:
        cell = cells[header.names.index(name)]
        if str(error).startswith(repr(cell[:40])):
            return f"column {name}: expected a number; {error}"
    return f"column {plan.time}: {error}"


def _rows(path: Path, config: RowsConfig) -> Iterator[Any]:
    """The header, then line and cells of every row that is not blank."""
    with path.open("rb") as file:
        lines = records(text_lines(file, config.encoding))
        header, blank = None, 0
        for number, text in lines:
            if not text.strip():
                blank = blank or number
                continue
            if blank and header is not None:
                raise InputError(
                    f"line {blank}: a blank line between rows, which on the device ends a sequence; remove it"
                )
            blank = 0
            if header is None:
                header = _header(text, number, config)
                yield header
                if header.named:
                    continue
            try:
                yield number, split_cells(text, header.delimiter)
            except InputError as error:
                raise InputError(f"line {number}: {error}") from error
    if header is None:
        raise InputError("expected rows of numbers; it holds none")


def _header(text: str, number: int, config: RowsConfig) -> Header:
    wanted = [name for name in (*config.columns, config.time, config.label, config.group) if name]
    try:
        return read_header(text, config.header, wanted)
    except InputError as error:
        raise InputError(f"line {number}: {error}; say data.header=true or data.header=false") from error
