"""Scoring of anomaly detectors: the rule of NAB, and its baseline (Lavin and Ahmad 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Past this position a false alarm counts in full, wherever it is.
_FAR = 3.0
# The baseline learns from so many values, and forgets so many at a time.
_WINDOW, _STEP = 6400, 100


class Profile(NamedTuple):
    """Weights of a detection, a false alarm and a missed window; the defaults are NAB's standard profile."""

    hit: float = 1.0
    false_alarm: float = 0.11
    miss: float = 1.0


class ScoredSeries(NamedTuple):
    """Scores (T,) of a series, its windows (W, 2) of first and last rows, and the rows on probation at its start."""

    scores: NDArray[Any]
    windows: NDArray[Any]
    probation: int


def scaled_sigmoid(position: float) -> float:
    """2 / (1 + exp(5 y)) - 1 of the position y relative to a window: -1 at its start, 0 at its end; -1 from 3 on."""
    return -1.0 if position > _FAR else 2 / (1 + math.exp(5 * position)) - 1


def nab_score(series: Sequence[ScoredSeries], threshold: float, profile: Profile | None = None) -> float:
    """The normalized score of all series: 0 for a detector that never fires, 100 for a perfect one.

    A window counts by its first alarm: the earlier, the more, up to `hit`; without an alarm it costs `miss`. An alarm
    outside of windows costs up to `false_alarm`: the less, the closer it is after a window, and all of it if there is
    no window before.

    Args:
        series: all of a corpus.
        threshold: the score from which a row is an alarm.
        profile: None: the standard one.

    Raises:
        ValueError: no series has a window.
    """
    profile = Profile() if profile is None else profile
    return _normalized(sum(_raw_score(one, threshold, profile) for one in series), series, profile)


class Choice(NamedTuple):
    """Scores of a detector by how the one threshold for all series is chosen.

    threshold: the one of 200 quantiles of the scores with the highest score on all series; best: that score, which is
    optimistic, since the labels that chose the threshold judge it; left_out: each series at the threshold that is best
    on the others.
    """

    threshold: float
    best: float
    left_out: float


def choose_threshold(series: Sequence[ScoredSeries], profile: Profile | None = None) -> Choice:
    """Choose a threshold for all series, and measure the choice on series that were not used for it.

    Raises:
        ValueError: no series has a window.
    """
    profile = Profile() if profile is None else profile
    scores = np.concatenate([one.scores[one.probation :] for one in series])
    # The highest scores differ in the last digits only: the tail is where the alarms are.
    candidates = np.unique(np.quantile(scores, 1 - np.geomspace(1e-5, 0.5, 200)))
    raw = np.array([[_raw_score(one, float(t), profile) for t in candidates] for one in series])
    total = raw.sum(axis=0)
    # Of equal ones the highest, which gives the fewest alarms.
    best = _last_largest(total)
    apart = sum(row[_last_largest(total - row)] for row in raw)
    return Choice(
        float(candidates[best]), *(_normalized(float(value), series, profile) for value in (total[best], apart))
    )


def _normalized(raw: float, series: Sequence[ScoredSeries], profile: Profile) -> float:
    """A sum of raw scores as NAB gives it: 0 for no alarm at all, 100 for perfection."""
    count = sum(len(one.windows) for one in series)
    if not count:
        raise ValueError("no series has a window of an anomaly: there is nothing to be found")
    worst = -profile.miss * count
    return 100 * (raw - worst) / (profile.hit * count - worst)


def _last_largest(values: NDArray[Any]) -> int:
    return len(values) - 1 - int(np.argmax(values[::-1]))


def _raw_score(one: ScoredSeries, threshold: float, profile: Profile) -> float:
    alarms = np.flatnonzero(one.scores >= threshold)
    alarms = alarms[alarms >= one.probation]
    total, inside = 0.0, np.zeros(len(alarms), bool)
    for first, last in one.windows:
        within = (alarms >= first) & (alarms <= last)
        inside |= within
        if within.any():
            position = -(last - alarms[within][0] + 1) / (last - first + 1)
            total += profile.hit * scaled_sigmoid(position) / scaled_sigmoid(-1.0)
        else:
            total -= profile.miss
    for alarm in alarms[~inside]:
        before = [(first, last) for first, last in one.windows if last < alarm]
        if not before:
            total -= profile.false_alarm
            continue
        first, last = max(before, key=lambda window: window[1])
        total += profile.false_alarm * scaled_sigmoid((alarm - last) / max(1, last - first))
    return total


def windowed_gaussian(values: NDArray[Any]) -> NDArray[Any]:
    """Scores (T,) of values (T,): 1 - P(z > |x - mean| / deviation), of the values before it.

    The window grows to 6,400 values, and then forgets and learns 100 at a time, as NAB's baseline does.
    """
    values = np.asarray(values, np.float64)
    scores = np.zeros(len(values))
    sums = np.concatenate([[0.0], np.cumsum(values - values[:1].sum())])
    squares = np.concatenate([[0.0], np.cumsum((values - values[:1].sum()) ** 2)])
    for i in range(1, len(values)):
        end = i if i <= _WINDOW else _WINDOW + (i - _WINDOW) // _STEP * _STEP
        begin = max(0, end - _WINDOW)
        mean = (sums[end] - sums[begin]) / (end - begin)
        variance = (squares[end] - squares[begin]) / (end - begin) - mean**2
        deviation = math.sqrt(variance) if variance > 1e-12 else 1e-6
        z = abs(values[i] - values[0] - mean) / deviation
        scores[i] = 1 - 0.5 * math.erfc(z / math.sqrt(2))
    return scores
