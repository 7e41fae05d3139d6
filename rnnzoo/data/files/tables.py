"""A user's own numbers: one long series to forecast, or recordings with labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from rnnzoo.data.config import DataConfig, RowsConfig
from rnnzoo.data.files.dividing import Recording, divide
from rnnzoo.data.files.preparing import Rows, Tables, labelled, runs, table_files
from rnnzoo.data.source import SPLITS, Example, Reading, register_dataset
from rnnzoo.errors import DataError

# Sizes of the splits of a series.
_RATIO = (3.0, 1.0, 1.0)


@register_dataset("series:", "series")
def read_series(config: DataConfig) -> Reading:
    """`series:FILE_OR_FOLDER`: a row a step; the last fifth is `test`, the fifth before it `dev`.

    Files of a folder follow one another by their names, or by `data.time`; `train`, `dev` and `test` are taken as they
    are. An example is all rows up to the end of the split, and the number of the first row to be forecast.
    """
    config = rows_config(config)
    path = Path(config.dataset.removeprefix("series:"))
    paths = [path] if path.is_file() else table_files(path)[0]
    if not paths:
        raise DataError(f"{path} is no file and no folder of CSV files: check it")
    tables = Tables(paths, config)
    by_split = {file.name.partition(".")[0]: file for file in paths}
    if set(by_split) == set(SPLITS):
        parts = [tables.read(by_split[split]).values for split in SPLITS]
        values, ends = np.concatenate(parts), np.cumsum([0, *map(len, parts)]).tolist()
    else:
        values = tables.read_joined(paths).values
        share = np.cumsum(config.ratio or _RATIO) / sum(config.ratio or _RATIO)
        ends = [0, int(share[0] * len(values)), int(share[1] * len(values)), len(values)]
    splits = {s: [(values[:end], begin)] for s, begin, end in zip(SPLITS, ends[:-1], ends[1:], strict=True)}
    sizes = ", ".join(f"{s} {end - begin:,}" for s, begin, end in zip(SPLITS, ends[:-1], ends[1:], strict=True))
    return Reading(splits, tables.findings({"splits in rows": sizes}))


@register_dataset("rows:", "rows-label")
def read_labelled(config: DataConfig) -> Reading:
    """`rows:FOLDER`: `FOLDER/LABEL/*.csv`, or `FOLDER/train/LABEL/*.csv` and the same for `dev` and `test`.

    With `data.label` one file, or a folder of files, whose rows bear labels: a recording is a stretch with one label.
    With `data.window` recordings are cut into windows, `data.hop` rows apart.
    """
    config = rows_config(config)
    path = Path(config.dataset.removeprefix("rows:"))
    files, other = _labelled_files(path, config)
    if not files:
        raise DataError(f"{path} holds no CSV file: expected FOLDER/LABEL/*.csv, or a file and data.label")
    tables = Tables([file for file, _, _ in files], config)
    recordings = [
        (split, label, part)
        for file, split, name in files
        for label, part in _recordings(tables.read(file), config, name, tables)
    ]
    splits, how = divide(recordings, config)
    splits = {split: list(_windows(rows, config, tables)) for split, rows in splits.items()}
    more = {"split by": how} | ({"files of another kind": str(other)} if other else {})
    if short := tables.counts["shorter than a window"]:
        more["recordings shorter than data.window, left out"] = f"{short:,}"
    if without := tables.counts["without a label"]:
        more["rows without a label, left out"] = f"{without:,}"
    return Reading(splits, tables.findings(more))


def rows_config(config: DataConfig) -> RowsConfig:
    """The data section as `RowsConfig`; for a topology of other data, the wrong kind is reported later."""
    return config if isinstance(config, RowsConfig) else RowsConfig(dataset=config.dataset, limit=config.limit)


def _labelled_files(path: Path, config: RowsConfig) -> tuple[list[tuple[Path, str | None, str]], int]:
    """File, split and label of each, None and '' where the folder does not say; and how many files are no tables."""
    if config.label is not None and path.is_file():
        return [(path, None, "")], 0
    if not path.is_dir():
        what = "a CSV file or a folder of them" if config.label else "a folder of CSV files for each label"
        raise DataError(f"{path} is no folder: expected {what}")
    given = [split for split in SPLITS if (path / split).is_dir()]
    if given and (missing := [split for split in SPLITS if split not in given]) and "train" in given:
        raise DataError(f"{path} holds train, and no {' or '.join(missing)}: add it")
    pattern = "*" if config.label else "*/*"
    places: list[tuple[Path, str | None]] = [(path / s, s) for s in SPLITS] if "train" in given else [(path, None)]
    labelled_files, other = [], 0
    for folder, split in places:
        files, others = table_files(folder, pattern)
        labelled_files += [(file, split, "" if config.label else file.parent.name) for file in files]
        other += others
    return labelled_files, other


def _recordings(rows: Rows, config: RowsConfig, label: str, tables: Tables) -> Iterator[tuple[str, Rows]]:
    """The stretches of a file that have one label and are of one group, with the label."""
    columns = [rows.texts[name] for name in (config.label, config.group) if name]
    known = labelled(rows.texts[config.label]) if config.label else np.ones(len(rows.values), bool)
    tables.counts["without a label"] += int((~known).sum())
    for begin, end in runs(*columns) if columns else [(0, len(rows.values))]:
        if known[begin]:
            yield str(rows.texts[config.label][begin]) if config.label else label, rows.part(begin, end)


def _windows(recordings: Iterable[Recording], config: RowsConfig, tables: Tables) -> Iterator[Example]:
    """Recordings as examples: whole, or cut into windows."""
    window, hop = getattr(config, "window", None), getattr(config, "step", 1)
    for label, rows in recordings:
        if window is None:
            yield rows.values, label
            continue
        tables.counts["shorter than a window"] += len(rows.values) < window
        for begin in range(0, len(rows.values) - window + 1, hop):
            yield rows.values[begin : begin + window], label
