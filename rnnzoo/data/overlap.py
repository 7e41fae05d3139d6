"""Counts examples of dev and test that are also in train, on which a model is not really tested."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.data.source import Source


@dataclass(frozen=True)
class Overlap:
    """The numbers of examples of a split whose input, and whose target, is also in the training split."""

    dataset: str
    split: str
    examples: int
    inputs: int
    targets: int


def count_overlaps(dataset: str, source: Source) -> list[Overlap]:
    """The overlaps of the development and the test split with the training split.

    Targets are compared only if they are texts or sequences; single labels, which are in every split, count as 0.
    """
    train = source.splits["train"]
    texts = [] if source.kind in _NAMED else train
    seen = {_digest(row[0]) for row in train}, {key for row in texts for key in _targets(row[1])}
    overlaps = []
    for split in ("dev", "test"):
        rows = source.splits[split]
        inputs = sum(_digest(row[0]) in seen[0] for row in rows)
        targets = sum(any(key in seen[1] for key in _targets(row[1])) for row in rows)
        overlaps.append(Overlap(dataset, split, len(rows), inputs, targets))
    return overlaps


def read_overlaps(path: Path) -> dict[tuple[str, str], Overlap]:
    """The overlaps that `write_overlaps` wrote, by data set and split; empty if there is no such file."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = [Overlap(r["dataset"], r["split"], *(int(r[key]) for key in _COUNTS)) for r in csv.DictReader(file)]
    return {(row.dataset, row.split): row for row in rows}


def write_overlaps(path: Path, overlaps: list[Overlap]) -> None:
    """Write them as CSV, sorted."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([item.name for item in fields(Overlap)])
        writer.writerows(astuple(row) for row in sorted(overlaps, key=lambda row: (row.dataset, row.split)))


# Kinds whose targets are names, such as that of a play, although they are several words.
_NAMED = ("styled-lines",)
_COUNTS = ("examples", "inputs", "targets")


def _targets(value: Any) -> Iterator[bytes]:
    """Digests of a target: of each text of several; nothing for labels and flags, which are few."""
    if isinstance(value, str) and " " in value:
        yield _digest(value)
    elif isinstance(value, list | tuple) and value and all(isinstance(item, str) and " " in item for item in value):
        yield from map(_digest, value)


def _digest(value: Any) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in _bytes(value):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def _bytes(value: Any) -> Iterator[bytes]:
    if isinstance(value, str):
        yield value.encode("utf-8", "surrogatepass")
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        for key, item in sorted(value.items()):
            yield str(key).encode()
            yield from _bytes(item)
    elif isinstance(value, list | tuple) and not all(isinstance(item, int | float) for item in value):
        for item in value:
            yield from _bytes(item)
    else:
        array = np.asarray(value)
        yield repr((array.dtype.str, array.shape)).encode()
        yield np.ascontiguousarray(array).tobytes()
