"""ecg-beats-stream on the last five minutes of MIT-BIH record 100: the files of WFDB read bit by bit."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import oracle
import tasks

BUNDLE, KIND = "ecg-beats-stream", "signal-events"
_RATE, _GAIN, _BASELINE = 360, 200, 1024
_MINUTES = 5
_BEATS = {1: "N", 5: "V", 8: "A"}
_BACKGROUND = "_background_"
# Samples of a frame; a beat's label comes three frames after it and stays for three; seconds that a beat may be off.
_FRAME, _LAG, _TOLERANCE = 12, 4, 0.15

Beats = list[tuple[int, str]]


class Label(NamedTuple):
    """A label of a frame, and its probability."""

    frame: int
    tag: str
    score: float


def examples(data: Path, limit: int | None = None) -> list[tuple[np.ndarray, Beats]]:
    """Two leads in millivolts and the beats among them; a limit is one of seconds."""
    folder = data / "ecg_mitdb_100"
    bits = np.unpackbits(np.frombuffer((folder / "100.dat").read_bytes(), np.uint8)).reshape(-1, 3, 8)
    low, middle, high = bits[:, 0], bits[:, 1], bits[:, 2]
    # Format 212: the second byte holds the upper four bits of the second sample, then those of the first.
    numbers = np.stack(
        [np.concatenate([middle[:, 4:], low], axis=1), np.concatenate([middle[:, :4], high], axis=1)], axis=1
    ) @ np.array([-2048, *(2**i for i in range(10, -1, -1))])
    begin = len(numbers) - _MINUTES * 60 * _RATE
    end = len(numbers) if limit is None else begin + limit * _RATE
    leads = ((numbers[begin:end] - _BASELINE) / _GAIN).astype(np.float32)
    beats = [(at - begin, kind) for at, kind in _annotated((folder / "100.atr").read_bytes()) if begin <= at < end]
    return [(leads, beats)]


def _annotated(data: bytes) -> Beats:
    """Sample and kind of each beat: words of 16 bits, a code in the upper six, time since the last in the others."""
    words, time, found = iter(np.frombuffer(data, "<u2").tolist()), 0, []
    for word in words:
        code, rest = divmod(word, 1024)
        if code == 59:
            time += next(words) * 65536 + next(words)
        elif code == 63:
            for _ in range((rest + 1) // 2):
                next(words)
        elif code < 50:
            time += rest
            found += [(time, _BEATS[code])] if code in _BEATS else []
    return found


def figures(model: oracle.Model, rows: list[tuple[np.ndarray, Beats]]) -> dict[str, float]:
    """Sensitivity, precision and F1 of beats within 150 ms, whatever their kind, and the share of kinds that fit."""
    ((signal, beats),) = rows
    made = tasks.sensors(model, model.meta["task"], signal[: len(signal) // _FRAME * _FRAME])
    labels = [Label(number, row["tag"], row["score"]) for number, row in enumerate(made)]
    found = []
    for marked, run in groupby(labels, key=lambda label: label.tag != _BACKGROUND):
        part = list(run)
        if marked:
            kinds = {one.tag: sum(other.score for other in part if other.tag == one.tag) for one in part}
            middle = np.mean([one.frame for one in part]) - _LAG
            found.append(((middle + 0.5) * _FRAME, max(kinds, key=lambda kind: kinds[kind])))
    pairs, left = [], list(found)
    for at, kind in beats:
        # Both are in order: what lies before this beat's tolerance belongs to none.
        while left and left[0][0] < at - _TOLERANCE * _RATE:
            left.pop(0)
        if left and left[0][0] <= at + _TOLERANCE * _RATE:
            pairs.append(kind == left.pop(0)[1])
    return {
        "f1": 2 * len(pairs) / (len(beats) + len(found)),
        "sensitivity": len(pairs) / len(beats),
        "precision": len(pairs) / len(found),
        "label_accuracy": oracle.accuracy(pairs),
        "count": float(len(beats)),
    }


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the first seconds of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
