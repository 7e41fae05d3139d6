"""A user's own rows with a column of labels: a label for each row, events in a signal, anomalies in series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.config import DataConfig, RowsConfig
from rnnzoo.data.files.dividing import divide
from rnnzoo.data.files.preparing import Rows, Tables, labelled, runs, table_files
from rnnzoo.data.files.tables import rows_config
from rnnzoo.data.source import SPLITS, Example, Reading, register_dataset
from rnnzoo.errors import ConfigError, DataError

# Cells of a column of anomalies that say that there is none, in lower case, beside those without a value.
_NORMAL = frozenset({"0", "0.0", "false", "no", "normal"})
# An anomaly detector learns from this share of a series, at its beginning.
_PROBATION = 0.15


@register_dataset("tagged:", "rows-tags")
def read_tagged(config: DataConfig) -> Reading:
    """`tagged:FILE_OR_FOLDER`: rows with a label each, in the column `data.label`; a cell may be empty."""
    return _read(config, "tagged:", lambda rows, labels: (rows.values, [str(cell) for cell in labels]))


@register_dataset("events:", "signal-events")
def read_events(config: DataConfig) -> Reading:
    """`events:FILE_OR_FOLDER`: samples; `data.label` has a label at each event, and empty cells elsewhere."""

    def example(rows: Rows, labels: NDArray[Any]) -> Example:
        return rows.values, [(int(at), str(labels[at])) for at in np.flatnonzero(labels != "")]

    return _read(config, "events:", example)


@register_dataset("anomalies:", "series-windows")
def read_anomalies(config: DataConfig) -> Reading:
    """`anomalies:FILE_OR_FOLDER`: a series in each file; `data.label` may mark unusual rows: 1, true, a word.

    Each split holds all series: a detector learns from the first rows of each and is measured on the others.
    """
    config = rows_config(config)
    if config.mask or config.ratio or config.split or config.group:
        raise ConfigError("data.mask, data.ratio, data.split and data.group are not for anomalies: leave them out")
    files = [file for file, _ in _files(config.dataset.removeprefix("anomalies:"))]
    tables = Tables(files, config)
    series: list[Example] = []
    for file in files:
        rows = tables.read(file)
        windows = np.zeros((0, 2), np.int64)
        if config.label is not None:
            cells = rows.texts[config.label]
            marked = labelled(cells) & np.array([cell.lower() not in _NORMAL for cell in cells], bool)
            windows = np.array([(begin, end - 1) for begin, end in runs(marked) if marked[begin]], np.int64)
        probation = max(int(_PROBATION * len(rows.values)), getattr(config, "probation", 0))
        about = {"name": file.name, "probation": probation, "windows": windows.reshape(-1, 2)}
        series.append((rows.values, about))
    marks = sum(len(about["windows"]) for _, about in series)
    more = {"anomalies": str(marks)} if config.label else {}
    return Reading(dict.fromkeys(SPLITS, series), tables.findings(more))


def _read(config: DataConfig, prefix: str, example: Callable[[Rows, NDArray[Any]], Example]) -> Reading:
    config = rows_config(config)
    if config.label is None:
        raise ConfigError(f"{config.dataset!r} needs data.label: name the column of labels")
    files = _files(config.dataset.removeprefix(prefix))
    tables = Tables([file for file, _ in files], config)
    splits, how = divide([(split, "", rows) for file, split in files for rows in _grouped(tables, file)], config)
    made = {
        split: [example(rows, _labels(rows, config)) for _, rows in recordings] for split, recordings in splits.items()
    }
    return Reading(made, tables.findings({"split by": how}))


def _grouped(tables: Tables, file: Path) -> Iterator[Rows]:
    """The rows of a file, those of each group by themselves."""
    rows, group = tables.read(file), tables.config.group
    for begin, end in runs(rows.texts[group]) if group else [(0, len(rows.values))]:
        yield rows.part(begin, end)


def _labels(rows: Rows, config: RowsConfig) -> NDArray[Any]:
    """The labels (T,) of rows, '' where there is none."""
    cells = rows.texts[str(config.label)]
    return np.where(labelled(cells), cells, "")


def _files(name: str) -> list[tuple[Path, str | None]]:
    """The files of a data set, each with its split where names or folders say it."""
    path = Path(name)
    if path.is_file():
        return [(path, None)]
    if all((path / split).is_dir() for split in SPLITS):
        return [(file, split) for split in SPLITS for file in table_files(path / split)[0]]
    files = table_files(path)[0]
    if not files:
        raise DataError(f"{path} is no file and no folder of CSV files: check it")
    by_name = {file.name.partition(".")[0]: file for file in files}
    if set(by_name) == set(SPLITS):
        return [(by_name[split], split) for split in SPLITS]
    return [(file, None) for file in files]
