"""Turns tables into sequences of rows: in the order of time, at even steps, without gaps."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.config import RowsConfig
from rnnzoo.data.files.columns import Plan, Survey, Table, plan_columns, read_table
from rnnzoo.data.source import Findings
from rnnzoo.errors import DataError
from streaming.errors import InputError
from streaming.runtime.tables import Resampler, fill_rows, is_missing, parse_step

# A step of time is a gap where it is longer than so many of the usual ones.
_GAP = 1.5
_SUFFIXES = tuple(f"{kind}{packed}" for kind in (".csv", ".tsv", ".txt") for packed in ("", ".gz"))


@dataclass(frozen=True)
class Rows:
    """Rows of one file that follow one another.

    Args:
        path: of the file.
        values: (T, D) of float64, masks included.
        texts: columns of text, (T,) each.
        times: (T,) in seconds, or None.
    """

    path: Path
    values: NDArray[Any]
    texts: dict[str, NDArray[Any]]
    times: NDArray[Any] | None

    def part(self, begin: int, end: int) -> Rows:
        """Rows from `begin` to before `end`."""
        texts = {name: column[begin:end] for name, column in self.texts.items()}
        times = None if self.times is None else self.times[begin:end]
        return Rows(self.path, self.values[begin:end], texts, times)


@dataclass
class Tables:
    """The files of a data set, read by one plan; counts what it leaves out.

    Args:
        paths: of all files.
        config: the data section.

    Raises:
        DataError: a file cannot be read, or does not fit the others; it is named.
    """

    paths: Sequence[Path]
    config: RowsConfig
    counts: Counter[str] = field(default_factory=Counter)
    plan: Plan = field(init=False)
    surveys: dict[Path, Survey] = field(init=False)

    def __post_init__(self) -> None:
        self.plan, self.surveys = plan_columns(self.paths, self.config)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features, those of masks included."""
        masks = [f"{name}_missing" for name in self.plan.columns] if self.config.mask else []
        return (*self.plan.columns, *masks)

    def read(self, path: Path) -> Rows:
        """The rows of a file, ready for a model.

        Raises:
            DataError: a row is malformed, or lacks a value that is not to be filled; its line is named.
        """
        return self._prepared(self._table(path))

    def read_joined(self, paths: Sequence[Path]) -> Rows:
        """The rows of several files as one sequence."""
        return self._prepared(_joined([self._table(path) for path in paths]))

    def _table(self, path: Path) -> Table:
        return read_table(path, self.plan, self.config, self.surveys[path].header)

    def _prepared(self, table: Table) -> Rows:
        self.counts["rows"] += len(table.values)
        table = self._checked(self._in_time(table))
        texts = {name: np.array(column, object) for name, column in table.texts.items()}
        values, times, lines = table.values, table.times, table.lines
        if self.config.resample is not None and times is not None:
            values, times, texts = _resampled(parse_step(self.config.resample), values, times, texts)
            lines = np.zeros(0, np.int64)
        return self._filled(table.path, values, times, lines, texts)

    def _filled(
        self,
        path: Path,
        values: NDArray[Any],
        times: NDArray[Any] | None,
        lines: NDArray[Any],
        texts: dict[str, NDArray[Any]],
    ) -> Rows:
        policy, missing = self.config.missing, np.isnan(values)
        if policy == "refuse" and missing.any():
            row, column = np.argwhere(missing)[0]
            where = f"line {lines[row]}" if len(lines) else f"row {row} at even steps"
            raise DataError(
                f"{path}, {where}: no value in column {self.plan.columns[column]}; {missing.any(axis=1).sum()} rows "
                "lack one: say data.missing=drop, hold or interpolate"
            )
        try:
            filled = fill_rows(policy, self.plan.columns, values)
        except InputError as error:
            raise DataError(f"{path}: {error}") from error
        self.counts["left out for a missing value"] += len(values) - len(filled.rows)
        self.counts["filled"] += int(filled.missing.any(axis=1).sum())
        rows = filled.with_mask() if self.config.mask else filled.rows
        texts = {name: column[filled.numbers] for name, column in texts.items()}
        return Rows(path, rows, texts, None if times is None else times[filled.numbers])

    def _in_time(self, table: Table) -> Table:
        times = table.times
        if times is None or not (late := int((np.diff(times) < 0).sum())):
            return table
        self.counts["out of order"] += late
        order = np.argsort(times, kind="stable")
        texts = {name: [column[i] for i in order] for name, column in table.texts.items()}
        return Table(table.path, table.values[order], table.lines[order], times[order], texts)

    def _checked(self, table: Table) -> Table:
        """Count gaps and rows at one time."""
        if table.times is not None and len(table.times) > 2:
            steps = np.diff(table.times)
            usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
            self.counts["gaps"] += int((steps > _GAP * usual).sum())
            self.counts["at the time of another"] += int((steps == 0).sum())
        return table

    def findings(self, more: Mapping[str, str] | None = None) -> Findings:
        """How the tables were read; `more` are further lines."""
        names, counts, plan = list(self.columns), self.counts, self.plan
        shown = {
            "files": f"{len(self.paths)}",
            "rows": f"{counts['rows']:,}",
            "columns": ", ".join(names),
        }
        if plan.time is not None:
            shown["time"] = plan.time
        if plan.left_out:
            shown["columns left out"] = ", ".join(f"{name} ({why})" for name, why in plan.left_out.items())
        for name in ("out of order", "at the time of another", "gaps", "filled", "left out for a missing value"):
            if counts[name]:
                shown[name if name == "gaps" else f"rows {name}"] = f"{counts[name]:,}"
        warnings = list(plan.warnings)
        if counts["gaps"] and self.config.resample is None:
            warnings.append(
                f"{counts['gaps']} steps of {plan.time} are longer than the others: data.resample=1min, say, makes "
                "them even"
            )
        return Findings(self.columns, shown | dict(more or {}), tuple(warnings))


def table_files(folder: Path, pattern: str = "*") -> tuple[list[Path], int]:
    """The tables in a folder, sorted by name, and the number of other files."""
    paths = sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))
    tables = [path for path in paths if path.name.lower().endswith(_SUFFIXES)]
    return tables, len(paths) - len(tables)


def runs(*columns: NDArray[Any]) -> list[tuple[int, int]]:
    """Begin and end of the stretches in which all columns (T,) are constant."""
    length = len(columns[0]) if columns else 0
    changed = np.zeros(max(0, length - 1), bool)
    for column in columns:
        changed |= column[1:] != column[:-1]
    edges = [0, *(np.flatnonzero(changed) + 1).tolist(), length]
    return [(begin, end) for begin, end in itertools.pairwise(edges) if end > begin]


def labelled(column: NDArray[Any]) -> NDArray[Any]:
    """Which cells (T,) of a column of labels hold one."""
    return np.array([not is_missing(cell) for cell in column], bool)


def _joined(tables: Sequence[Table]) -> Table:
    if len(tables) == 1:
        return tables[0]
    first = tables[0]
    times = None if first.times is None else np.concatenate([table.times for table in tables])
    texts = {name: [cell for table in tables for cell in table.texts[name]] for name in first.texts}
    values, lines = (np.concatenate([getattr(table, name) for table in tables]) for name in ("values", "lines"))
    return Table(first.path.parent, values, lines, times, texts)


def _resampled(
    step: float, values: NDArray[Any], times: NDArray[Any], texts: dict[str, NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]]:
    """Rows at even steps; of text the last of each step, held over steps without a row."""
    resampler = Resampler(step, values.shape[1])
    try:
        parts = resampler.feed(times, values), resampler.finish()
    except InputError as error:
        raise DataError(f"data.resample: {error}") from error
    even, rows = (np.concatenate(pair) for pair in zip(*parts, strict=True))
    last = np.searchsorted(np.floor(times / step), np.round(even / step), side="right") - 1
    return rows, even, {name: column[last] for name, column in texts.items()}
