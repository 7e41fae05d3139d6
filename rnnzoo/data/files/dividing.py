"""Divides a user's recordings into splits: by their folders, by file, by group or by time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnnzoo.data.config import RowsConfig
from rnnzoo.data.files.preparing import Rows
from rnnzoo.data.files.splitting import assign_splits, borders
from rnnzoo.data.source import SPLITS
from rnnzoo.errors import ConfigError

Recording = tuple[str, Rows]


def divide(
    labelled_rows: Sequence[tuple[str | None, str, Rows]], config: RowsConfig
) -> tuple[dict[str, list[Recording]], str]:
    """Recordings by split, and how they were divided.

    Args:
        labelled_rows: split where the folders say it, label (or '') and rows of each.
        config: the data section.

    Raises:
        ConfigError: it has options of splits, but the folders are the splits.
    """
    splits: dict[str, list[Recording]] = {split: [] for split in SPLITS}
    if all(split is not None for split, _, _ in labelled_rows):
        if config.split or config.group or config.ratio:
            raise ConfigError("data.split, data.group and data.ratio divide files; these lie in train, dev and test")
        for split, label, rows in labelled_rows:
            splits[str(split)].append((label, rows))
        return splits, "folders"
    recordings = [(label, rows) for _, label, rows in labelled_rows]
    several = len({rows.path for _, rows in recordings}) > 1
    if config.group is None and (config.split == "time" or (config.split is None and not several)):
        for label, rows in recordings:
            begin, middle = borders(len(rows.values), config.ratio)
            for split, part in zip(SPLITS, ((0, begin), (begin, middle), (middle, None)), strict=True):
                if len((cut := rows.part(part[0], len(rows.values) if part[1] is None else part[1])).values):
                    splits[split].append((label, cut))
        return splits, "time, within each stretch of one label" if any(label for label, _ in recordings) else "time"
    return _by_units(recordings, config)


def _by_units(recordings: Sequence[Recording], config: RowsConfig) -> tuple[dict[str, list[Recording]], str]:
    """Whole groups, or whole files, by split."""
    splits: dict[str, list[Recording]] = {split: [] for split in SPLITS}
    if config.group is not None:
        contents = [str(rows.texts[config.group][0]).encode() for _, rows in recordings]
        strata = [""] * len(recordings)
        how = f"{config.group} ({len(set(contents))})"
    else:
        by_file: dict[Path, list[Recording]] = {}
        for label, rows in recordings:
            by_file.setdefault(rows.path, []).append((label, rows))
        whole = {path: b"".join(_content(rows) for _, rows in parts) for path, parts in by_file.items()}
        contents = [whole[rows.path] for _, rows in recordings]
        strata = [label if len(by_file[rows.path]) == 1 else "" for label, rows in recordings]
        how = f"file ({len(by_file)})"
    for split, recording in zip(assign_splits(contents, strata, config.ratio), recordings, strict=True):
        splits[split].append(recording)
    return splits, how


def _content(rows: Rows) -> bytes:
    return rows.values.astype(np.float32).tobytes()
