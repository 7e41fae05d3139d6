"""music-jsb on the test part of the chorales of J. S. Bach: a JSON file of MIDI numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import oracle
import tasks

BUNDLE, KIND = "music-jsb", "rolls"
_LOWEST_KEY, _KEYS, _LEAST = 21, 88, 1e-7


def examples(data: Path, limit: int | None = None) -> list[tuple[np.ndarray, None]]:
    """A row of 88 zeros and ones a quarter note."""
    pieces = json.loads((data / "jsb_chorales" / "jsb-chorales-quarter.json").read_text(encoding="utf-8"))["test"]
    found = []
    for piece in pieces[:limit]:
        roll = np.zeros((len(piece), _KEYS), np.float32)
        for row, pitches in zip(roll, piece, strict=True):
            row[[int(pitch) - _LOWEST_KEY for pitch in pitches]] = 1
        found.append((roll, None))
    return found


def figures(model: oracle.Model, rows: list[tuple[np.ndarray, None]]) -> dict[str, float]:
    """Nats a step: the summed negative log-likelihood of the 88 notes, each by itself."""
    nats = []
    for roll, _ in rows:
        made = np.array([event["values"][0] for event in tasks.forecasts(model, model.meta["task"], roll[:-1])])
        chance = np.clip(made, _LEAST, 1 - _LEAST)
        nats += (-np.log(np.where(roll[1:] > 0, chance, 1 - chance)).sum(axis=1)).tolist()
    return {"nll": float(np.mean(nats)), "count": float(len(nats))}


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the first pieces of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
