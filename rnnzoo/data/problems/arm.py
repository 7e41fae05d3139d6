"""A planar arm of two links that holds an unknown payload, its controllers, and trajectories to follow.

M(q) q'' + C(q, q') q' + g(q) = torque (Spong, Hutchinson & Vidyasagar 2006, "Robot Modeling and Control"), with the
angles q (rad) of the first link against the horizontal and of the second against the first. N arms at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Uniform links: lengths (m), masses (kg), inertias about their middles (kg m^2).
LENGTHS, MASSES = (0.5, 0.5), (1.0, 1.0)
_INERTIAS = tuple(mass * length**2 / 12 for mass, length in zip(MASSES, LENGTHS, strict=True))
_GRAVITY = 9.81
# Seconds of a step, largest torque (N m), deviations of measured angles (rad) and velocities (rad/s).
STEP, MAX_TORQUE = 0.001, 80.0
_ANGLE_NOISE, _VELOCITY_NOISE = 5e-4, 5e-3
# Payloads (kg) of training, and those that are measured beside them.
PAYLOADS, HEAVY_PAYLOADS = (0.0, 2.0), (2.0, 3.0)
# Feedback of computed torque: a critically damped error with a time constant of 0.1 s.
_STIFFNESS, _DAMPING = 100.0, 20.0
COLUMNS = tuple(
    f"{name}_{joint}"
    for name in ("angle", "velocity", "error", "error_rate", "acceleration", "torque")
    for joint in (1, 2)
)
TORQUES = COLUMNS[-2:]
# Of the collection: white noise on the torque (N m), and the mean seconds for which a wrong payload is believed.
_TORQUE_NOISE, _BELIEF = 2.0, 0.15


@dataclass(frozen=True)
class Episode:
    """An arm and what it is to follow: angle(t) = center + sum over k of amplitude sin(2 pi frequency t + phase).

    Args:
        payload: mass at the tip, kg.
        waves: amplitude, frequency and phase, (joints, waves, 3).
        centers: (joints,).
        offset: angles and velocities at the beginning, less those of the reference, (4,).
        seed: of the noise of the sensors.

    Raises:
        ValueError: the payload is negative, or no number.
    """

    payload: float
    waves: Array
    centers: Array
    offset: Array
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.payload < np.inf:
            raise ValueError(f"expected a payload of 0 kg or more; received {self.payload}")


def draw_episode(rng: np.random.Generator, payloads: tuple[float, float] = PAYLOADS) -> Episode:
    """A random episode with a payload of a range."""
    slow = [rng.uniform(0.1, 0.4, 2), rng.uniform(0.2, 0.6, 2), rng.uniform(0, 2 * np.pi, 2)]
    fast = [rng.uniform(0.05, 0.15, 2), rng.uniform(0.6, 1.2, 2), rng.uniform(0, 2 * np.pi, 2)]
    return Episode(
        payload=float(rng.uniform(*payloads)),
        waves=np.stack([np.stack(slow, axis=-1), np.stack(fast, axis=-1)], axis=1),
        centers=rng.uniform([-0.3, 0.3], [0.9, 1.5]),
        offset=rng.normal(size=4) * [0.05, 0.05, 0.2, 0.2],
        seed=int(rng.integers(2**31)),
    )


def reference(episode: Episode, steps: int) -> Array:
    """Angles, velocities and accelerations to follow, (T, 6)."""
    amplitude, frequency, phase = np.moveaxis(episode.waves, -1, 0)
    rate = 2 * np.pi * frequency
    angle = rate * STEP * np.arange(steps)[:, None, None] + phase
    parts = (amplitude * np.sin(angle), amplitude * rate * np.cos(angle), -amplitude * rate**2 * np.sin(angle))
    angles, velocities, accelerations = (part.sum(axis=-1) for part in parts)
    return np.concatenate([angles + episode.centers, velocities, accelerations], axis=1)


def dynamics(angles: Array, velocities: Array, payloads: Array) -> tuple[Array, Array]:
    """M (N, 2, 2), and C q' + g (N, 2), of angles and velocities (N, 2) and payloads (N,)."""
    (l1, l2), (m1, m2), (i1, i2), p = LENGTHS, MASSES, _INERTIAS, payloads
    cosine, sine = np.cos(angles[:, 1]), np.sin(angles[:, 1])
    # What the second link and the payload add: about the second joint, and coupled with the first link.
    own, coupled = m2 * l2**2 / 4 + i2 + p * l2**2, l1 * l2 * (m2 / 2 + p)
    m11 = m1 * l1**2 / 4 + i1 + (m2 + p) * l1**2 + own + 2 * coupled * cosine
    m12 = own + coupled * cosine
    mass = np.stack([np.stack([m11, m12], axis=-1), np.stack([m12, own], axis=-1)], axis=-2)
    first, second = velocities[:, 0], velocities[:, 1]
    whirl = coupled * sine * np.stack([-second * (2 * first + second), first**2])
    outer = l2 * (m2 / 2 + p) * np.cos(angles.sum(axis=1))
    inner = l1 * (m1 / 2 + m2 + p) * np.cos(angles[:, 0])
    return mass, (whirl + _GRAVITY * np.stack([inner + outer, outer])).T


def computed_torque(state: Array, wanted: Array, payloads: Array) -> Array:
    """Feedback linearization: M (q''_ref + damping e' + stiffness e) + C q' + g, (N, 2).

    Args:
        state: angles and velocities (N, 4).
        wanted: reference (N, 6).
        payloads: those that the controller believes in, (N,).
    """
    error = wanted[:, :4] - state
    mass, rest = dynamics(state[:, :2], state[:, 2:], payloads)
    acceleration = wanted[:, 4:] + _DAMPING * error[:, 2:] + _STIFFNESS * error[:, :2]
    return np.clip(np.einsum("nij,nj->ni", mass, acceleration) + rest, -MAX_TORQUE, MAX_TORQUE)


class Simulation:
    """N arms, one for each episode, step by step.

    Args:
        episodes: of the arms.
        steps: T, of `STEP` seconds.
    """

    def __init__(self, episodes: Sequence[Episode], steps: int):
        self.payloads = np.array([episode.payload for episode in episodes])
        self.wanted = np.stack([reference(episode, steps) for episode in episodes])
        self.state = self.wanted[:, 0, :4] + [episode.offset for episode in episodes]
        self.steps, self.step = steps, 0
        self._torques = np.zeros((len(episodes), 2))
        noise = [np.random.default_rng(episode.seed).standard_normal((steps, 4)) for episode in episodes]
        self._noise = np.stack(noise) * np.repeat([_ANGLE_NOISE, _VELOCITY_NOISE], 2)

    def observe(self) -> Array:
        """What sensors say, the reference, and the torques of the step before, (N, 12): `COLUMNS`."""
        measured, wanted = self.state + self._noise[:, self.step], self.wanted[:, self.step]
        return np.concatenate([measured, wanted[:, :4] - measured, wanted[:, 4:], self._torques], axis=1)

    def expert(self) -> Array:
        """Torques (N, 2) of the controller that knows the payload and the state."""
        return computed_torque(self.state, self.wanted[:, self.step], self.payloads)

    def apply(self, torques: Array) -> None:
        """Hold torques (N, 2) for a step (Runge & Kutta, fourth order)."""
        self._torques = np.clip(torques, -MAX_TORQUE, MAX_TORQUE)
        k1 = self._slope(self.state)
        k2 = self._slope(self.state + STEP / 2 * k1)
        k3 = self._slope(self.state + STEP / 2 * k2)
        k4 = self._slope(self.state + STEP * k3)
        self.state = self.state + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        self.step += 1

    def _slope(self, state: Array) -> Array:
        mass, rest = dynamics(state[:, :2], state[:, 2:], self.payloads)
        return np.concatenate([state[:, 2:], np.linalg.solve(mass, (self._torques - rest)[..., None])[..., 0]], axis=1)


def follow(episodes: Sequence[Episode], steps: int, controller: Callable[[Simulation], Any]) -> Array:
    """Angles (N, T, 2) of arms that a controller drives, which is asked for torques (N, 2) at each step."""
    simulation, angles = Simulation(episodes, steps), np.empty((len(episodes), steps, 2))
    for step in range(steps):
        angles[:, step] = simulation.state[:, :2]
        simulation.apply(controller(simulation))
    return angles


class Drive(NamedTuple):
    """What was seen and done on a drive of N arms over T steps.

    Args:
        rows: observations (N, T, 12).
        torques: what was applied, before it was clipped, (N, T, 2).
        answers: torques of the expert at the same steps, (N, T, 2).
        errors: of the angles, (N, T, 2).
    """

    rows: Array
    torques: Array
    answers: Array
    errors: Array


def record(
    episodes: Sequence[Episode],
    steps: int,
    controller: Callable[[Simulation], Any],
    noise: float,
    rng: np.random.Generator,
) -> Drive:
    """A drive by the torques (N, 2) of a controller with white noise of a deviation in N m."""
    simulation, n = Simulation(episodes, steps), len(episodes)
    drive = Drive(np.empty((n, steps, len(COLUMNS))), *(np.empty((n, steps, 2)) for _ in range(3)))
    for step in range(steps):
        drive.rows[:, step], drive.answers[:, step] = simulation.observe(), simulation.expert()
        drive.errors[:, step] = simulation.wanted[:, step, :2] - simulation.state[:, :2]
        driven = controller(simulation)
        drive.torques[:, step] = driven + noise * rng.standard_normal(driven.shape)
        simulation.apply(drive.torques[:, step])
    return drive


def collect(episodes: Sequence[Episode], steps: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Observations (N, T, 12) on the ways of mistaken controllers, and what the expert would do there, (N, T, 2).

    The arms are driven by computed torque for a random payload that changes now and then, with noise: what is cloned
    are corrections, and torques before do not give the payload away.
    """
    believed = rng.uniform(*PAYLOADS, len(episodes))

    def mistaken(simulation: Simulation) -> Array:
        nonlocal believed
        changes = rng.random(len(episodes)) < STEP / _BELIEF
        believed = np.where(changes, rng.uniform(*PAYLOADS, len(episodes)), believed)
        return computed_torque(simulation.state, simulation.wanted[:, simulation.step], believed)

    drive = record(episodes, steps, mistaken, _TORQUE_NOISE, rng)
    return drive.rows, drive.answers


def tips(angles: Array) -> Array:
    """Places (..., 2) of the tip in metres, for angles (..., 2)."""
    first, both = angles[..., 0], angles[..., 0] + angles[..., 1]
    (l1, l2) = LENGTHS
    return np.stack([l1 * np.cos(first) + l2 * np.cos(both), l1 * np.sin(first) + l2 * np.sin(both)], axis=-1)
