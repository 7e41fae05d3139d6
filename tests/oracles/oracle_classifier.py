"""speaker-vowels on the test part of Japanese Vowels: a `.ts` file read by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import oracle
import tasks

BUNDLE, KIND = "speaker-vowels", "rows-label"


def examples(data: Path, limit: int | None = None) -> list[tuple[np.ndarray, str]]:
    """Twelve coefficients a row, and the speaker."""
    text = (data / "japanese_vowels" / "JapaneseVowels_TEST.ts").read_text(encoding="utf-8")
    found = []
    for line in text.partition("@data\n")[2].split()[:limit]:
        *channels, speaker = line.split(":")
        found.append((np.array([channel.split(",") for channel in channels], np.float32).T, speaker))
    return found


def figures(model: oracle.Model, rows: list[tuple[np.ndarray, str]]) -> dict[str, float]:
    """The accuracy of the last answer of each recording."""
    task = model.meta["task"]
    right = [tasks.sensors(model, task, given)[-1]["label"] == speaker for given, speaker in rows]
    return {"accuracy": oracle.accuracy(right), "count": float(len(right))}


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the first recordings of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
