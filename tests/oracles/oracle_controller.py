"""steer-arm on the test episodes, drawn anew; the arm's mechanics by Jacobians of its masses, in complex numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import oracle
import tasks
from stream import Stream

BUNDLE, KIND = "steer-arm", "rows-control"
_SEED, _EPISODES, _HEAVY = 3, 24, 8
_STEP, _LINK, _LIMIT = 0.001, 0.5, 80.0
_STEPS, _SETTLE = 2000, 500


def examples(_: Path, limit: int | None = None) -> list[tuple[np.ndarray, tuple[np.ndarray, Any]]]:
    """The episodes, each with what no figure needs; a limit takes some of both kinds of payloads."""
    rng = np.random.default_rng(_SEED)
    drawn = []
    for i in range(_EPISODES + _HEAVY):
        slow = [rng.uniform(0.1, 0.4, 2), rng.uniform(0.2, 0.6, 2), rng.uniform(0, 2 * np.pi, 2)]
        fast = [rng.uniform(0.05, 0.15, 2), rng.uniform(0.6, 1.2, 2), rng.uniform(0, 2 * np.pi, 2)]
        payload = float(rng.uniform(0, 2) if i < _EPISODES else rng.uniform(2, 3))
        # Joints, waves, and amplitude, frequency and phase of each.
        waves = np.array([[[part[joint] for part in wave] for wave in (slow, fast)] for joint in range(2)])
        centers = np.array([rng.uniform(-0.3, 0.9), rng.uniform(0.3, 1.5)])
        offset = rng.normal(size=4) * [0.05, 0.05, 0.2, 0.2]
        seed = int(rng.integers(2**31))
        drawn.append(SimpleNamespace(payload=payload, waves=waves, centers=centers, offset=offset, seed=seed))
    rows = [(np.ones((2, 12), np.float32), (np.ones((2, 2)), episode)) for episode in drawn]
    return rows if limit is None else rows[:: -(-len(rows) // limit)]


def wanted(episode: Any) -> np.ndarray:
    """Angles, velocities and accelerations (T, 6), as derivatives of a sum of complex exponentials."""
    turning = 2j * np.pi * episode.waves[..., 1]
    start = episode.waves[..., 0] * np.exp(1j * episode.waves[..., 2])
    waves = start * np.exp(turning * np.arange(_STEPS)[:, None, None] * _STEP)
    parts = [(waves * turning**order).sum(axis=-1).imag for order in range(3)]
    return np.hstack([parts[0] + episode.centers, *parts[1:]])


def accelerations(state: np.ndarray, torque: np.ndarray, payload: float) -> np.ndarray:
    """q'' of q, q' (4,), by M = sum of m J* J, and forces of the masses that do not accelerate the joints."""
    first, both = np.exp(1j * state[0]), np.exp(1j * (state[0] + state[1]))
    mass, rest = np.zeros((2, 2)), np.zeros(2)
    for kilograms, inner, outer in ((1.0, _LINK / 2, 0.0), (1.0, _LINK, _LINK / 2), (payload, _LINK, _LINK)):
        columns = np.array([1j * (inner * first + outer * both), 1j * outer * both])
        mass += kilograms * (columns[:, None].conj() * columns).real
        inward = -(inner * first * state[2] ** 2 + outer * both * (state[2] + state[3]) ** 2)
        rest += kilograms * (columns.conj() * (inward + 9.81j)).real
    mass += _LINK**2 / 12 * np.array([[2.0, 1.0], [1.0, 1.0]])
    return np.linalg.solve(mass, torque - rest)


def driven(model: oracle.Model, episode: Any) -> np.ndarray:
    """Errors of the angles (T, 2) of an arm that the file drives."""
    task, stream, way = model.meta["task"], Stream(model), wanted(episode)
    mean, scale = (np.array(task["scaler"][key]) for key in ("mean", "scale"))
    noise = np.random.default_rng(episode.seed).standard_normal((_STEPS, 4)) * [5e-4, 5e-4, 5e-3, 5e-3]
    state, torque, errors = way[0, :4] + episode.offset, np.zeros(2), np.empty((_STEPS, 2))

    def slope(at: np.ndarray) -> np.ndarray:
        return np.concatenate([at[2:], accelerations(at, torque, episode.payload)])

    for step in range(_STEPS):
        errors[step] = way[step, :2] - state[:2]
        seen = state + noise[step]
        row = np.concatenate([seen, way[step, :4] - seen, way[step, 4:], torque])
        output = tasks.only(stream, stream.feed({"rows": ((row - mean) / scale).astype(np.float32)[None]}))
        torque = np.clip(output.reshape(2).astype(np.float64) * scale[-2:] + mean[-2:], -_LIMIT, _LIMIT)
        a = slope(state)
        b = slope(state + _STEP / 2 * a)
        c = slope(state + _STEP / 2 * b)
        state = state + _STEP / 6 * (a + 2 * b + 2 * c + slope(state + _STEP * c))
    return errors


def figures(model: oracle.Model, rows: list[tuple[np.ndarray, tuple[np.ndarray, Any]]]) -> dict[str, float]:
    """Root mean squares in rad after half a second, of payloads up to 2 kg and of heavier ones; the largest error."""
    errors = [(episode.payload, driven(model, episode)[_SETTLE:]) for _, (_, episode) in rows]
    known, heavy = ([found for payload, found in errors if (payload > 2) == is_heavy] for is_heavy in (False, True))
    return {
        "rms": float(np.sqrt(np.mean(np.square(known)))),
        "rms_beyond": float(np.sqrt(np.mean(np.square(heavy)))),
        "worst": float(np.abs(known).max()),
        "count": float(len(rows)),
    }


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the test episodes; a limit takes some of them."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
