"""draw-kanji on the test part of the strokes of KanjiVG: movements and lifts of the pen in an .npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import oracle
import tasks
from stream import Stream

BUNDLE, KIND = "draw-kanji", "strokes"


def examples(data: Path, limit: int | None = None) -> list[tuple[np.ndarray, None]]:
    """Rows dx, dy, lift of the first drawings."""
    with np.load(data / "kanji_strokes" / "short_kanji_stroke3.npz", allow_pickle=False) as arrays:
        ends = np.cumsum(arrays["test_lengths"])[:-1]
        return [(points.astype(np.float32), None) for points in np.split(arrays["test_points"], ends)[:limit]]


def figures(model: oracle.Model, rows: list[tuple[np.ndarray, None]]) -> dict[str, float]:
    """Nats of movements, each by the full covariances of its mixture, and of the pen."""
    task, info = model.meta["task"], model.meta["inputs"][0]
    scale, floor = np.array(task["scaler"]["scale"]), task["floor"]
    moves, pens = [], []
    for points, _ in rows:
        given = np.concatenate([[[0, 0, 1]], points[:-1]]) / scale
        stream = Stream(model)
        made = tasks.only(stream, stream.feed({info["name"]: given.astype(np.float32)})).astype(np.float64)
        for output, point, last in zip(made, points, range(len(points) - 1, -1, -1), strict=True):
            parts = output[:-3].reshape(-1, 6)
            deviations, rho = floor + np.exp(parts[:, 3:5]), 0.95 * np.tanh(parts[:, 5])
            cross = rho * deviations[:, 0] * deviations[:, 1]
            table = np.stack([deviations[:, 0] ** 2, cross, cross, deviations[:, 1] ** 2], axis=1)
            covariances = table.reshape(-1, 2, 2)
            away = point[:2] / scale[:2] - parts[:, 1:3]
            power = np.einsum("mi,mij,mj->m", away, np.linalg.inv(covariances), away)
            density = np.exp(-power / 2) / (2 * np.pi * np.sqrt(np.linalg.det(covariances)))
            moves.append(-np.log(np.exp(tasks.log_softmax(parts[:, 0])) @ density))
            pens.append(-tasks.log_softmax(output[-3:])[int(point[2]) if last else 2])
    found = {"movement_nats": float(np.mean(moves)), "pen_nats": float(np.mean(pens)), "count": float(len(moves))}
    return {**found, "nats": found["movement_nats"] + found["pen_nats"]}


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the first drawings of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
