"""Sequences of different lengths as batches of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Sequences are padded to one of these lengths, so that a compiled step meets few shapes.
_LENGTHS = (4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512)

# Arrays by name; those with axes begin with time.
Arrays = dict[str, NDArray[Any]]


def batch_indices(
    lengths: NDArray[Any], size: int, rng: np.random.Generator | None, exact: bool = False
) -> list[NDArray[Any]]:
    """Indices of examples of similar length, batch by batch.

    Args:
        lengths: of all examples.
        size: examples in a batch; the last one (of each length, where `exact`) may be smaller.
        rng: shuffles examples within a length, and the batches; None: shortest first.
        exact: each batch holds examples of one length only.
    """
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    cuts = np.flatnonzero(np.diff(lengths[order])) + 1 if exact else np.array([], int)
    batches = [group[i : i + size] for group in np.split(order, cuts) for i in range(0, len(group), size)]
    if rng is not None:
        batches = [batches[i] for i in rng.permutation(len(batches))]
    return batches


def collate(rows: Sequence[Arrays], padding: Mapping[str, float], exact: bool = False) -> Arrays:
    """Stack examples, (T, ...) arrays padded at the end to the longest.

    Args:
        rows: the examples.
        padding: value that a name is padded with; 0 for those not listed.
        exact: pad to the longest exactly; otherwise to one of a few fixed lengths.
    """
    batch = {}
    for name, first in rows[0].items():
        values = [row[name] for row in rows]
        if first.ndim == 0:
            batch[name] = np.stack(values)
            continue
        length = max(len(value) for value in values)
        if not exact:
            length = next((n for n in _LENGTHS if n >= length), length)
        out = np.full((len(rows), length, *first.shape[1:]), padding.get(name, 0), first.dtype)
        for target, value in zip(out, values, strict=True):
            target[: len(value)] = value
        batch[name] = out
    return batch
