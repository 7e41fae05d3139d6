"""The registry of data sets: each module of `sets` and `files` registers those that it reads."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rnnzoo.data.config import DataConfig, file_option
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.util.suggest import suggest

# What the model is given, and what it is to answer.
Example = tuple[Any, Any]
Splits = Mapping[str, Iterable[Example]]
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Findings:
    """How a user's files were read, for the table that is shown before a training.

    Args:
        columns: names of the features of rows, in the order of the model's.
        shown: lines of that table by title: files, rows, columns, and what was left out and why.
        warnings: for the user, one sentence each.
    """

    columns: tuple[str, ...] = ()
    shown: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Reading(NamedTuple):
    """The splits of a user's files, the findings of their reader, and their kind if it depends on the options."""

    splits: Splits
    findings: Findings
    kind: str | None = None


@dataclass(frozen=True)
class Source:
    """A data set in memory.

    Args:
        kind: of its examples, such as `words-tags`; tasks name the kinds that they take.
        splits: examples of `train`, `dev` and `test`, pairs of raw input and raw target.
        findings: of the reader of a user's files.
    """

    kind: str
    splits: dict[str, list[Example]]
    findings: Findings = field(default_factory=Findings)


_Read = Callable[[DataConfig], Splits | Reading]


class _Entry(NamedTuple):
    kind: str
    read: _Read


_REGISTRY: dict[str, _Entry] = {}


def register_dataset(name: str, kind: str) -> Callable[[_Read], Any]:
    """Make a data set known under a name.

    The decorated function takes the data section of an experiment and returns, for each of `train`, `dev` and
    `test`, an iterable of (raw input, raw target); or a `Reading`, which also has findings.

    Args:
        name: the value of `data.dataset`; a name that ends with `/` or `:` stands for all names that begin with it.
        kind: of the examples: `words-tags`, `text-label`, ...
    """

    def register(read: _Read) -> _Read:
        _REGISTRY[name] = _Entry(kind, read)
        return read

    return register


def known_datasets() -> dict[str, str]:
    """Name (or beginning of names) -> kind of every registered data set."""
    for room in ("sets", "files"):
        for module in pkgutil.iter_modules([str(Path(__file__).parent / room)]):
            importlib.import_module(f"rnnzoo.data.{room}.{module.name}")
    return {name: entry.kind for name, entry in sorted(_REGISTRY.items())}


def read_source(config: DataConfig) -> Source:
    """Every split of the data set that a configuration names.

    Raises:
        DataError: the data set is unknown, cannot be found, is malformed, or has an empty split.
        ConfigError: an option of tables is set, but the data set is not a table.
    """
    known, name = known_datasets(), config.dataset
    entry = _REGISTRY.get(name) or next(
        (_REGISTRY[key] for key in known if key.endswith(("/", ":")) and name.startswith(key)), None
    )
    if entry is None:
        raise DataError(f"unknown data set {name!r}; {suggest(name, known)}")
    if config.limit is not None and config.limit < 1:
        raise DataError(f"data.limit is at least 1 example; received {config.limit}")
    loaded = entry.read(config)
    if not isinstance(loaded, Reading) and (option := file_option(config)):
        raise ConfigError(f"data.{option} is for files of your own, {name!r} is none: leave it out")
    reading = loaded if isinstance(loaded, Reading) else Reading(loaded, Findings())
    splits = {split: list(itertools.islice(rows, config.limit)) for split, rows in reading.splits.items()}
    for split in SPLITS:
        if not splits.get(split):
            remedy = "give more, or a folder with a file for each split" if ":" in name else "check its files"
            raise DataError(f"split {split!r} of {name!r} holds no example: {remedy}")
    return Source(reading.kind or entry.kind, splits, reading.findings)
