"""Assigns a user's files to `train`, `dev` and `test`: whole files or groups, or the rows of each in order."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from rnnzoo.data.source import SPLITS

_RATIO = (8.0, 1.0, 1.0)


def assign_splits(contents: Sequence[bytes], strata: Sequence[str], ratio: Sequence[float] = ()) -> list[str]:
    """The split of each unit; units of equal content are in the same split.

    Without a ratio, a hash of its content decides the split of each unit, so that more files do not change it. If that
    leaves a split empty, or with a ratio, the units of each stratum are divided by the ratio, in the order of their
    hashes; with three or more units, each split gets at least one.

    Args:
        contents: bytes of the units, for their hashes.
        strata: of each, such as its label.
        ratio: sizes of train, dev and test.
    """
    splits = [split_of(content) for content in contents]
    if not ratio and set(splits) == set(SPLITS):
        return splits
    splits = _drawn(contents, strata, ratio)
    # Strata of one or two units leave nothing to the smaller splits.
    return splits if set(splits) == set(SPLITS) else _drawn(contents, [""] * len(contents), ratio)


def _drawn(contents: Sequence[bytes], strata: Sequence[str], ratio: Sequence[float]) -> list[str]:
    by_stratum: dict[str, list[bytes]] = defaultdict(list)
    for content, stratum in zip(contents, strata, strict=True):
        by_stratum[stratum].append(content)
    drawn: dict[bytes, str] = {}
    for units in by_stratum.values():
        fresh = sorted({unit for unit in units if unit not in drawn}, key=lambda unit: hashlib.sha256(unit).digest())
        begin, middle = borders(len(fresh), ratio)
        drawn |= {unit: _split_at(i, begin, middle) for i, unit in enumerate(fresh)}
    return [drawn[content] for content in contents]


def borders(count: int, ratio: Sequence[float] = ()) -> tuple[int, int]:
    """The indices at which `dev` and `test` begin; with three or more items, each split has at least one."""
    train, dev, test = ratio or _RATIO
    total = train + dev + test
    middle, begin = round(count * (train + dev) / total), round(count * train / total)
    if count >= 3:
        middle = min(max(middle, 2), count - 1)
        begin = min(max(begin, 1), middle - 1)
    return begin, middle


def _split_at(place: int, begin: int, middle: int) -> str:
    return "train" if place < begin else "dev" if place < middle else "test"


def split_of(content: bytes) -> str:
    """The split of some content."""
    place = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") % 10
    return {0: "dev", 1: "test"}.get(place, "train")
