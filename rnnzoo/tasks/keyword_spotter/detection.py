"""Counts detected keywords, misses and false alarms at any threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.runtime.decoding import EventRule

# An event counts for a keyword from its beginning on until so many seconds after its end.
TOLERANCE = 0.5
# Thresholds of a sweep.
THRESHOLDS = (*(round(0.05 * i, 2) for i in range(2, 19)), *(0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 0.999))


class Spoken(NamedTuple):
    """A spoken keyword: the number of its label, begin and end of its recording, and the end of its sound."""

    label: int
    begin: float
    end: float
    over: float


class Episode(NamedTuple):
    """A stretch in which a keyword leads, by `EventRule`.

    `times` are those of its rows that are higher than all before, in seconds, `scores` their probabilities; `end` is
    when it leads last.
    """

    label: int
    times: tuple[float, ...]
    scores: tuple[float, ...]
    end: float

    def event(self, threshold: float) -> float | None:
        """The time of its event at a threshold; None if there is none."""
        return next((time for time, score in zip(self.times, self.scores, strict=True) if score >= threshold), None)


class Heard(NamedTuple):
    """The result of a spotter on a signal: episodes, the spoken keywords, and the length in seconds."""

    episodes: tuple[Episode, ...]
    spoken: tuple[Spoken, ...]
    seconds: float


class Tally(NamedTuple):
    """Numbers of spoken and of found keywords, false alarms, seconds of signal, and delays of events in seconds."""

    spoken: int
    found: int
    false: int
    seconds: float
    delays: tuple[float, ...]

    @property
    def recall(self) -> float:
        """The share of the keywords that was found; NaN if none was spoken."""
        return self.found / self.spoken if self.spoken else math.nan

    @property
    def precision(self) -> float:
        """The share of the events that are keywords; NaN where there is no event."""
        return self.found / (self.found + self.false) if self.found + self.false else math.nan

    @property
    def rate(self) -> float:
        """False alarms an hour."""
        return self.false / self.hours if self.seconds else math.nan

    @property
    def hours(self) -> float:
        """Hours of signal."""
        return self.seconds / 3600

    @property
    def bound(self) -> float:
        """The upper bound of the rate at 95 %, see `rate_bound`."""
        return rate_bound(self.false, self.hours)

    @property
    def delay(self) -> float:
        """The median delay of events; NaN if none was found."""
        return float(np.median(self.delays)) if self.delays else math.nan


def smoothed(probabilities: NDArray[Any], window: int) -> NDArray[Any]:
    """The mean of each row (T, L) and up to `window` - 1 before it, as a session of the device smooths them."""
    sums = np.cumsum(np.concatenate([np.zeros((1, probabilities.shape[1])), probabilities], dtype=np.float64), axis=0)
    ends = np.arange(1, len(sums))
    begins = np.maximum(0, ends - window)
    return np.asarray((sums[ends] - sums[begins]) / (ends - begins)[:, None])


def find_episodes(smooth: NDArray[Any], times: Sequence[float] | NDArray[Any], rule: EventRule) -> list[Episode]:
    """The episodes of a signal, in the order of their ends.

    Args:
        smooth: smoothed probabilities (T, L).
        times: of each row, in seconds.
        rule: decides which keyword leads; its threshold has no effect if it is at least one half.
    """
    leads = np.array([rule.leads(row) for row in smooth]).reshape(len(smooth), len(rule.keywords))
    episodes = []
    for column, label in enumerate(rule.keywords):
        rows = np.flatnonzero(leads[:, column])
        for part in np.split(rows, np.flatnonzero(np.diff(rows) > rule.rest) + 1) if len(rows) else ():
            scores = smooth[part, label]
            higher = np.flatnonzero(np.diff(np.maximum.accumulate(scores), prepend=-1.0) > 0)
            episodes.append(
                Episode(
                    label,
                    tuple(float(times[part[i]]) for i in higher),
                    tuple(scores[higher].tolist()),
                    float(times[part[-1]]),
                )
            )
    return sorted(episodes, key=lambda episode: episode.end)


def tally(heard: Sequence[Heard], threshold: float) -> Tally:
    """Count found keywords and false alarms in signals at a threshold; an event counts for at most one keyword."""
    found, false, spoken = 0, 0, 0
    delays: list[float] = []
    for signal in heard:
        events = [(episode, time) for episode in signal.episodes if (time := episode.event(threshold)) is not None]
        taken: set[int] = set()
        for word in sorted(signal.spoken, key=lambda word: word.end):
            match = next(
                (
                    i
                    for i, (episode, time) in enumerate(events)
                    if i not in taken
                    and episode.label == word.label
                    and time <= word.end + TOLERANCE
                    and episode.end >= word.begin
                ),
                None,
            )
            if match is not None:
                taken.add(match)
                delays.append(events[match][1] - word.over)
        spoken, found, false = spoken + len(signal.spoken), found + len(taken), false + len(events) - len(taken)
    return Tally(spoken, found, false, sum(signal.seconds for signal in heard), tuple(delays))


def rate_bound(count: int, hours: float, confidence: float = 0.95) -> float:
    """The upper confidence bound of the rate an hour, exact for a Poisson count of events.

    sum over k <= count of exp(-m) m^k / k! = 1 - confidence, rate = m / hours (Garwood 1936); 3.0 / hours for none.
    """
    if hours <= 0:
        return math.inf
    low, high = 0.0, 10.0 + 3.0 * count
    for _ in range(100):
        middle = (low + high) / 2
        terms = [math.exp(-middle + k * math.log(middle) - math.lgamma(k + 1)) for k in range(count + 1)]
        low, high = (middle, high) if sum(terms) > 1 - confidence else (low, middle)
    return high / hours


def threshold_for(heard: Sequence[Heard], rate: float) -> float | None:
    """The lowest threshold of a sweep with at most this rate of false alarms; None if none, or no keyword found.

    Args:
        heard: signals, with their keywords where they hold any.
        rate: false alarms an hour.
    """
    for threshold in THRESHOLDS:
        counts = tally(heard, threshold)
        if counts.rate <= rate:
            return threshold if counts.found or not counts.spoken else None
    return None
