"""asr-digits-stream on 200 strings of spoken digits: WAV files out of a tar file, put together by hand."""

from __future__ import annotations

import io
import tarfile
import wave
from pathlib import Path

import numpy as np
import oracle
import tasks

BUNDLE, KIND = "asr-digits-stream", "audio-text"
_RATE, _STRINGS, _SEED = 8000, 200, 2


def examples(data: Path, limit: int | None = None) -> list[tuple[np.ndarray, str]]:
    """Strings of three to seven digits of the official test recordings, with pauses, in noise."""
    clips = recordings(data)
    rng = np.random.default_rng(_SEED)
    lengths = rng.integers(3, 7, _STRINGS, endpoint=True)
    passes = -(-int(lengths.sum()) // len(clips))
    order = iter(np.concatenate([rng.permutation(len(clips)) for _ in range(passes)]))
    silence = np.zeros(int(0.3 * _RATE), np.float32)
    found = []
    for length in lengths:
        chosen = [clips[next(order)] for _ in range(length)]
        parts = []
        for clip in [*(samples for samples, _ in chosen), silence]:
            pause = np.zeros(int(rng.uniform(0, 0.5) * _RATE), np.float32)
            # The speed stays as it is, and is drawn all the same.
            rng.uniform(0, 0)
            parts += [pause, (clip * rng.uniform(0.5, 1.5))]
        signal = np.concatenate(parts)
        loudness = rng.uniform(0, 0.01)
        noisy = (signal + loudness * rng.standard_normal(len(signal), np.float32)).astype(np.float32)
        found.append((noisy, " ".join(digit for _, digit in chosen)))
    return found[:limit]


def recordings(data: Path) -> list[tuple[np.ndarray, str]]:
    """Recordings and their digits."""
    return [(samples, digit) for samples, digit, _ in spoken(data)]


def spoken(data: Path) -> list[tuple[np.ndarray, str, str]]:
    """Recordings 0 to 4 of each speaker and digit, in the order of number, speaker, digit; digit and speaker."""
    found = []
    with tarfile.open(data / "spoken_digit" / "free-spoken-digit-dataset-1.0.9-recordings.tar.gz") as archive:
        for member in archive:
            digit, speaker, index = f"{Path(member.name).stem}__".split("_")[:3]
            file = archive.extractfile(member) if member.name.endswith(".wav") and int(index) < 5 else None
            if file is not None:
                with wave.open(io.BytesIO(file.read())) as sound:
                    samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32) / 32768
                found.append((int(index), speaker, digit, samples))
    return [(samples, digit, speaker) for _, speaker, digit, samples in sorted(found, key=lambda item: item[:3])]


def figures(model: oracle.Model, rows: list[tuple[np.ndarray, str]]) -> dict[str, float]:
    """The word error rate of each string by itself, and the share of strings with every word right."""
    wrong, words, exact = 0, 0, []
    for samples, text in rows:
        events = tasks.transcript(model, model.meta["task"], samples)
        said = [word for event in events if event["event"] == "transcript" for word in event["text"].split()]
        wrong += oracle.edits(said, text.split())
        words += len(text.split())
        exact.append(said == text.split())
    return {"word_error_rate": wrong / words, "exact_accuracy": oracle.accuracy(exact), "count": float(words)}


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the first strings of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
