"""Signals with events in them: frames, their labels, and events from labels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.rows import RowEncoder
from streaming.errors import ArtifactError

BACKGROUND = "_background_"
# Frames between an event and its label, and frames that bear the label.
LAG, WIDTH = 3, 3
_FILE = "signal.json"


class Event(NamedTuple):
    """An event: its place in the signal, in samples, and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class SignalEncoder(RowEncoder):
    """A `RowEncoder` of samples that a model takes `frame` at a time."""

    frame: int = 1

    def to_files(self) -> dict[str, bytes]:
        return {**super().to_files(), _FILE: json.dumps({"frame": self.frame}).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> SignalEncoder:
        encoder: Any = super().from_files(files)
        try:
            return dataclasses.replace(encoder, frame=int(json.loads(files[_FILE])["frame"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{_FILE} is missing or damaged ({error}); take the files of one run") from error


def frame_labels(events: Sequence[tuple[int, int]], frames: int, frame: int) -> NDArray[Any]:
    """The number of the label of each frame, 0 for the background, (frames,).

    Args:
        events: sample, and number of the label, of each.
        frames: how many.
        frame: samples of one.
    """
    labels = np.zeros(frames, np.int32)
    for at, label in events:
        first = at // frame + LAG
        labels[first : first + WIDTH] = label
    return labels


def read_events(tags: Sequence[str], scores: Sequence[float], frame: int) -> list[Event]:
    """The events in labels of frames: one for each run of frames that are not background.

    Args:
        tags, scores: label and probability of each frame.
        frame: samples of a frame.

    Returns:
        Events in order; the label of an event is the one with the highest sum of probabilities in the run.
    """
    events: list[Event] = []
    marked = np.flatnonzero(np.array([tag != BACKGROUND for tag in tags], bool))
    for run in np.split(marked, np.flatnonzero(np.diff(marked) > 1) + 1):
        if not len(run):
            continue
        sums: dict[str, float] = {}
        for i in run:
            sums[tags[i]] = sums.get(tags[i], 0.0) + scores[i]
        middle = float(run.mean()) - LAG - (WIDTH - 1) / 2
        events.append(Event((middle + 0.5) * frame, max(sums, key=lambda tag: sums[tag])))
    return events


def match_events(true: Sequence[Event], detected: Sequence[Event], tolerance: float) -> list[tuple[int, int]]:
    """Pairs (true, detected) of matching events: each once, in order, at most `tolerance` samples apart."""
    pairs, i, j = [], 0, 0
    while i < len(true) and j < len(detected):
        if abs(true[i].at - detected[j].at) <= tolerance:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif true[i].at < detected[j].at:
            i += 1
        else:
            j += 1
    return pairs
