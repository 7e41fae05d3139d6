"""How far sounds are from each other: log-mel features along the best alignment in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# dB of a natural logarithm of a power.
_DECIBELS = 10 / np.log(10)


def mel_distances(one: NDArray[Any], others: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The distance in dB of log-mel features (T, M) from each of some others, (N,).

    The root mean square over the features of two frames, in the mean along the alignment of both that makes it least,
    by dynamic time warping (Sakoe and Chiba 1978, symmetric, without a slope constraint: a step in both sounds counts
    twice, and the sum is divided by both lengths).
    """
    return np.array([_DECIBELS * _aligned(one, other) / (len(one) + len(other)) for other in others])


def _aligned(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The least sum of costs on a way through all pairs of frames (T, M) and (S, M), one diagonal after the other."""
    square = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    costs = np.sqrt(np.maximum(square, 0) / one.shape[1])
    sums = np.full((len(one) + 1, len(other) + 1), np.inf)
    sums[0, 0] = 0
    for both in range(len(one) + len(other) - 1):
        rows = np.arange(max(0, both - len(other) + 1), min(both, len(one) - 1) + 1)
        columns = both - rows
        cost = costs[rows, columns]
        ways = (sums[rows, columns] + 2 * cost, sums[rows, columns + 1] + cost, sums[rows + 1, columns] + cost)
        sums[rows + 1, columns + 1] = np.minimum(np.minimum(*ways[:2]), ways[2])
    return float(sums[-1, -1])


def stretched(rows: NDArray[Any], length: int) -> NDArray[Any]:
    """Rows (T, M) brought to another length by linear interpolation."""
    places = np.linspace(0, len(rows) - 1, length)
    return np.stack([np.interp(places, np.arange(len(rows)), column) for column in rows.T], axis=1)
