"""Changes of rows that leave their label: turned, stretched, faster or slower, and noisy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.rows import RowEncoder
from rnnzoo.tasks.classifier.config import ClassifierRows


def pace_of(config: ClassifierRows, rng: np.random.Generator) -> float:
    """By what the number of rows of a batch is multiplied: between 1 - pace and 1 / (1 - pace)."""
    return float((1 - config.pace) ** rng.uniform(-1, 1))


def paced(rows: NDArray[Any], factor: float, config: ClassifierRows, encoder: RowEncoder) -> NDArray[Any]:
    """A sequence of scaled rows (T, D) with the number of rows multiplied, by interpolation of places.

    The first plane holds the movements between the places in the second. Where another column is not 0 in the units of
    the data, a mark is set and the way to the next row is a jump: there is no row in between.
    """
    count, mean, scale = max(2, round(len(rows) * factor)), np.array(encoder.mean), np.array(encoder.scale)
    if len(rows) < 2:
        return rows
    moves, places = (
        [config.columns.index(name) for name in config.planes[part]] for part in (slice(2), slice(2, None))
    )
    marks = [i for i in range(len(config.columns)) if i not in (*moves, *places)]
    values, last = rows * scale + mean, len(rows) - 1
    at = np.linspace(0, last, count)
    jumps = (np.abs(values[:, marks]) > 0.5).any(axis=1)
    at = np.where(jumps[np.floor(at).astype(int)], np.round(at), at)
    drawn = np.zeros((count, values.shape[1]))
    for column in places:
        drawn[:, column] = np.interp(at, np.arange(last + 1), values[:, column])
    drawn[:, moves] = np.diff(drawn[:, places], axis=0, prepend=drawn[:1, places])
    for row in np.flatnonzero(jumps):
        # The last new row that is not after the mark.
        drawn[np.flatnonzero(at <= row)[-1], marks] = values[row, marks]
    return np.asarray(((drawn - mean) / scale).astype(np.float32))


def augmented(
    rows: NDArray[Any], config: ClassifierRows, encoder: RowEncoder, rng: np.random.Generator
) -> NDArray[Any]:
    """A sequence of scaled rows (T, D), changed at random as the configuration says.

    Columns (x, y) of each plane become (x, y) M in the units of the data, M = R [[1 + u, 0], [w, 1 + v]]: R turns by up
    to `rotate` degrees, u, v and the slant w are up to `stretch`. Then noise of deviation `jitter` is added.
    """
    if config.rotate or config.stretch:
        angle = np.deg2rad(rng.uniform(-config.rotate, config.rotate))
        u, v, w = rng.uniform(-config.stretch, config.stretch, 3)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        change = turn @ np.array([[1 + u, 0], [w, 1 + v]])
        rows = rows.copy()
        places = [config.columns.index(name) for name in config.planes]
        for pair in zip(places[::2], places[1::2], strict=True):
            mean, scale = (np.array(part)[list(pair)] for part in (encoder.mean, encoder.scale))
            rows[:, pair] = ((rows[:, pair] * scale + mean) @ change - mean) / scale
    if config.jitter:
        rows = rows + rng.normal(0, config.jitter, rows.shape).astype(np.float32)
    return rows
