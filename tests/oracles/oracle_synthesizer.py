"""say-digits on the test recordings of five speakers: WAV files out of a tar file, and the density of their frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import oracle
import oracle_transcriber
import tasks
from stream import Stream

BUNDLE, KIND = "say-digits", "audio-voice"


def examples(data: Path, limit: int | None = None) -> list[tuple[np.ndarray, tuple[str, str]]]:
    """Recordings 0 to 4 of each speaker and digit, with both."""
    found = [(samples, (digit, speaker)) for samples, digit, speaker in oracle_transcriber.spoken(data)]
    return found[:limit]


def figures(model: oracle.Model, rows: list[tuple[np.ndarray, tuple[str, str]]]) -> dict[str, float]:
    """The negative log density of a scaled feature, given the frame before its step."""
    task, found = model.meta["task"], []
    mean, scale = (np.array(task["scaler"][key]) for key in ("mean", "scale"))
    for samples, (word, voice) in rows:
        frames = (tasks.log_mel({**tasks.MEL, **task["features"]}, samples) - mean) / scale
        # The last frame stands twice where their number is odd.
        steps = np.concatenate([frames, frames[len(frames) - len(frames) % 2 :]]).reshape(-1, 2, frames.shape[1])
        said = [word == known for known in task["words"]] + [voice == known for known in task["voices"]]
        last = np.concatenate([np.zeros((1, steps.shape[2])), steps[:-1, -1]])
        stream = Stream(model)
        given = np.tile(np.array(said, np.float32), (len(steps), 1))
        made = tasks.only(stream, stream.feed({"rows": last.astype(np.float32), "given": given}))
        means, logs = np.split(made[:, :-1].astype(np.float64), 2, axis=1)
        deviations = task["floor"] + np.exp(np.clip(logs, -20, 20))
        away = (steps.reshape(len(steps), -1) - means) / deviations
        found.append((away**2 / 2 + np.log(deviations * np.sqrt(2 * np.pi))).ravel())
    return {"nats": float(np.concatenate(found).mean())}


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the first recordings of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
