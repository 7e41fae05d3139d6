"""wake-word on the test recordings of its three words, each alone and all in one stream (soundfile decodes FLAC)."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import oracle
import soundfile
import tasks

BUNDLE, KIND = "wake-word", "audio-label"
_RATE, _SEED, _TAIL = 16000, 7, 0.5
# An event may come so many seconds after its keyword.
_LATE = 0.5


class Spoken(NamedTuple):
    """A keyword, and the first and last second of its recording in a signal."""

    label: str
    begin: float
    end: float


def examples(data: Path, limit: int | None = None) -> list[tuple[np.ndarray, str]]:
    """Samples and the word that is said; a limit takes recordings of all three words."""
    folder = data / "wake_words"
    with (folder / "clips.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == "test"]
    rows = rows if limit is None else rows[:: -(-len(rows) // limit)]
    found = []
    for word in dict.fromkeys(row["word"] for row in rows):
        with tarfile.open(folder / f"{word}.tar.gz") as archive:
            files = {Path(member.name).name: member for member in archive}
            for row in rows:
                if row["word"] == word:
                    file = archive.extractfile(files[Path(row["file"]).name])
                    assert file is not None
                    samples, rate = soundfile.read(io.BytesIO(file.read()), dtype="float32")
                    assert rate == _RATE
                    found.append((samples, word))
    return found


def figures(model: oracle.Model, rows: list[tuple[np.ndarray, str]]) -> dict[str, float]:
    """The share of keywords that are events and of events that are keywords, at the threshold of the file."""
    silence = np.zeros(int(_TAIL * _RATE), np.float32)
    alone = [_counted(model, np.concatenate([s, silence]), [Spoken(w, 0.0, len(s) / _RATE)]) for s, w in rows]
    rng, parts, spoken, at = np.random.default_rng(_SEED), [], [], 0
    for number in rng.permutation(len(rows)):
        samples, word = rows[number]
        at += int(rng.uniform(0.2, 1.0) * _RATE)
        parts.append(np.concatenate([np.zeros(at - sum(map(len, parts)), np.float32), samples]))
        spoken.append(Spoken(word, at / _RATE, (at + len(samples)) / _RATE))
        at += len(samples)
    found, events = _counted(model, np.concatenate([*parts, silence]), spoken)
    hits, every = np.sum(alone, axis=0)
    return {
        "recall": found / len(rows),
        "precision": found / events,
        "isolated_recall": float(hits / len(rows)),
        "isolated_precision": float(hits / every),
        "count": float(len(rows)),
    }


def _counted(model: oracle.Model, signal: np.ndarray, spoken: list[Spoken]) -> tuple[int, int]:
    """Keywords that were found, and events in all."""
    events = [(event["label"], event["time"]) for event in tasks.keywords(model, model.meta["task"], signal)]
    left, found = list(events), 0
    for word in spoken:
        hits = [e for e in left if e[0] == word.label and word.begin <= e[1] <= word.end + _LATE]
        if hits:
            left.remove(hits[0])
            found += 1
    return found, len(events)


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of so many recordings of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
