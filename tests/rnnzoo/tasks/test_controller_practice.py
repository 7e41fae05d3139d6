"""Drives of a controller in its training: who drives, who answers, what an interruption leaves, and REINFORCE."""

import dataclasses

import keras
import numpy as np
import pytest

from rnnzoo.data.problems import arm
from rnnzoo.data.source import Source
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.controller import practice
from rnnzoo.tasks.controller.config import ControlConfig, ControllerConfig
from rnnzoo.tasks.controller.model import build_controller
from rnnzoo.tasks.controller.practice import Apprentice, advantages
from rnnzoo.tasks.controller.task import ControllerTask
from rnnzoo.training import TrainingConfig, fit

STEPS, COUNT = 24, 12
TRAINING = TrainingConfig(epochs=3, batch_size=4, learning_rate=0.01, ema=0.5, snapshot_seconds=0.0)


def examples(count, seed, heavy=0, steps=STEPS):
    rng = np.random.default_rng(seed)
    episodes = [arm.draw_episode(rng, payloads) for payloads in [arm.PAYLOADS] * count + [arm.HEAVY_PAYLOADS] * heavy]
    rows, torques = arm.collect(episodes, steps, rng)
    return [(row.astype(np.float32), (torque, e)) for row, torque, e in zip(rows, torques, episodes, strict=True)]


def problem_of(steps=STEPS, **options):
    sizes = {"seconds": 0.06, "settle": 0.01}
    counts = {"train": (COUNT, 1), "dev": (4, 2, 1), "test": (2, 3, 1)}
    splits = {split: examples(*count, steps=steps) for split, count in counts.items()}
    return ControllerTask.from_source(
        Source("rows-control", splits), ControlConfig(dataset="arm", **sizes | options), seed=3
    )


def build(problem, layers=1):
    keras.utils.set_random_seed(4)
    return build_controller(ControllerConfig(cell="lstm", units=6, width=8, layers=layers, dropout=0), problem.encoder)


def torque_by_point_masses(state, acceleration, payload):
    """Sum of J' m (J q'' + J' q' + g) over many point masses: inverse dynamics without a mass matrix."""
    (a, b, va, vb), places = state, (np.arange(4000) + 0.5) / 4000
    total = np.zeros(2)
    for masses, first, second in (
        (np.full(4000, arm.MASSES[0] / 4000), arm.LENGTHS[0] * places, 0 * places),
        (np.full(4000, arm.MASSES[1] / 4000), arm.LENGTHS[0] + 0 * places, arm.LENGTHS[1] * places),
        (np.array([payload]), np.array([arm.LENGTHS[0]]), np.array([arm.LENGTHS[1]])),
    ):
        # Place: first (cos a, sin a) + second (cos (a + b), sin (a + b)).
        one, two = np.array([-np.sin(a), np.cos(a)]), np.array([-np.sin(a + b), np.cos(a + b)])
        inward_one, inward_two = -np.array([np.cos(a), np.sin(a)]), -np.array([np.cos(a + b), np.sin(a + b)])
        by_first = np.outer(first, one) + np.outer(second, two)
        by_second = np.outer(second, two)
        whirl = np.outer(first, inward_one) * va**2 + np.outer(second, inward_two) * (va + vb) ** 2
        force = by_first * acceleration[0] + by_second * acceleration[1] + whirl + [0, 9.81]
        total += [(masses[:, None] * by_first * force).sum(), (masses[:, None] * by_second * force).sum()]
    return total


@pytest.mark.slow
def test_a_round_is_driven_by_the_policy_and_answered_by_the_expert(tmp_path, monkeypatch):
    problem, seen, taught = problem_of(rounds=1), [], []
    record, teach = practice.record, Apprentice.teach

    def recorded(episodes, steps, controller, noise, rng):
        drive = record(episodes, steps, controller, 0.0, rng)
        seen.append((episodes, drive, [weight.copy() for weight in model.get_weights()]))
        return drive

    monkeypatch.setattr(practice, "record", recorded)
    monkeypatch.setattr(Apprentice, "teach", lambda self, batch: (taught.append(batch), teach(self, batch)))
    model = build(problem)
    fit(model, problem, TRAINING, seed=1, run_dir=tmp_path)
    ((episodes, _, weights),), ((inputs, targets, given),) = seen, taught
    assert len(episodes) == COUNT
    assert max(episode.payload for episode in episodes) <= arm.PAYLOADS[1]
    known = np.stack([episode.waves for _, (_, episode) in problem.examples("train")])
    assert not np.isclose(known[:, 0, 0, 0], episodes[0].waves[0, 0, 0]).any()
    assert given.sum() == COUNT * STEPS
    # The torque of the step before is what the model, reading the whole drive at once, gives there.
    driver = build(problem)
    driver.set_weights(weights)
    mean, scale = np.array(problem.encoder.mean), np.array(problem.encoder.scale)
    rows = inputs["rows"][:, :STEPS] * scale + mean
    torques = driver.predict_on_batch({"rows": inputs["rows"][:, :STEPS]}) * scale[-2:] + mean[-2:]
    np.testing.assert_allclose(rows[:, 1:, -2:], torques[:, :-1], rtol=1e-3, atol=1e-3)
    # The answers: the torque under which the error falls as a critically damped spring, by mechanics.
    answers = targets[:, :STEPS] * scale[-2:] + mean[-2:]
    for i, step in ((0, 0), (5, 11), (11, 23)):
        noise = np.random.default_rng(episodes[i].seed).standard_normal((STEPS, 4))[step] * [5e-4, 5e-4, 5e-3, 5e-3]
        state, wanted = rows[i, step, :4] - noise, arm.reference(episodes[i], STEPS)[step]
        acceleration = wanted[4:] + 20 * (wanted[2:4] - state[2:]) + 100 * (wanted[:2] - state[:2])
        expected = torque_by_point_masses(state, acceleration, episodes[i].payload)
        np.testing.assert_allclose(answers[i, step], np.clip(expected, -80, 80), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_batches_are_mixed_as_if_drives_and_data_were_one_set(rounds):
    problem = problem_of(rounds=3)
    model = Apprentice(build(problem), 3, 2, (4, 12), 2)
    drives = np.arange(1, 2 * rounds + 1, dtype=np.float32)
    shapes = {"rows": (4, 12), "targets": (4, 2), "weights": (4,)}
    if rounds:
        full = [np.ones((2 * rounds, *shape), np.float32) for shape in shapes.values()]
        rows, targets, weights = ((part.T * drives).T for part in full)
        model.teach(({"rows": rows}, targets, weights))
        model.rounds.assign(rounds)
    batch = [np.zeros((4000, *shape), np.float32) for shape in shapes.values()]
    numbers = [np.asarray(part).reshape(4000, -1) for part in model.mixed(batch)]
    for part in numbers:
        np.testing.assert_array_equal(part, np.repeat(numbers[2][:, :1], part.shape[1], axis=1))
    found = np.bincount(numbers[2][:, 0].astype(int), minlength=2 * rounds + 1) / 4000
    assert found == pytest.approx([1 / (rounds + 1), *[1 / (2 * rounds + 2)] * (2 * rounds)], abs=0.04)


class Stop(keras.callbacks.Callback):
    """Interrupts after a step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if self.step == int(self.model.optimizer.iterations):
            raise KeyboardInterrupt


# After a round, between two snapshots; before it; among the steps of REINFORCE.
@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 5, 11])
def test_an_interrupted_training_ends_with_the_same_bits(step, tmp_path):
    training = dataclasses.replace(TRAINING, epochs=4)

    def train(folder, *callbacks):
        problem = problem_of(rounds=2, reinforce=1)
        model = build(problem)
        return model, fit(model, problem, training, seed=1, run_dir=tmp_path / folder, callbacks=callbacks)

    expected, history = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("cut", Stop(step))
    found, again = train("cut")
    assert again["loss"] == history["loss"]
    assert again["val_rms"] == history["val_rms"]
    for a, b in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_advantages_are_discounted_returns_less_the_mean_of_an_episodes_drives():
    errors = np.random.default_rng(0).normal(size=(6, 5, 2))
    expected = np.zeros((6, 5))
    for drive in range(6):
        for step in range(5):
            later = range(step + 1, 5)
            expected[drive, step] = -sum(np.exp(-(k - step - 1) / 100) * (errors[drive, k] ** 2).sum() for k in later)
    for first in (0, 3):
        expected[first : first + 3] -= expected[first : first + 3].mean(axis=0)
    np.testing.assert_allclose(advantages(errors, 3), expected / expected.std(), rtol=1e-5, atol=1e-6)
    assert not advantages(np.ones((4, 5, 2)), 2).any()


@pytest.mark.slow
def test_reinforce_lowers_the_error_of_a_biased_policy(tmp_path):
    """A policy that pushes the first joint 10 N m too hard learns from the errors alone; the expert is not asked."""
    problem, training = problem_of(150, reinforce=4, seconds=0.4), dataclasses.replace(TRAINING, epochs=4, ema=None)
    model = build(problem, layers=0)
    rows, torques = (np.stack([row[name] for row in problem.arrays("train")]) for name in ("rows", "targets"))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit({"rows": rows}, torques, epochs=60, batch_size=4, verbose=0)
    for layer in model.layers[:-1]:
        layer.trainable = False
    bias, cloned = model.get_layer("torques").bias, problem.evaluate(model, "dev")["rms"]
    bias.assign(bias + np.array([10.0 / problem.encoder.scale[-2], 0.0]))
    biased = problem.evaluate(model, "dev")["rms"]
    assert biased > 1.3 * cloned
    problem.splits["train"] = [(row, (np.full_like(torque, 70.0), e)) for row, (torque, e) in problem.splits["train"]]
    history = fit(model, problem, training, seed=1, run_dir=tmp_path)
    assert history["val_rms"][-1] < biased - 0.5 * (biased - cloned)


def test_what_cannot_be_is_one_line(tmp_path, monkeypatch):
    problem = problem_of(rounds=2, reinforce=2)
    with pytest.raises(ConfigError, match=r"need training\.epochs of at least 5; received 3"):
        fit(build(problem), problem, TRAINING, seed=1, run_dir=tmp_path)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ConfigError, match=r"data\.rounds and data\.reinforce need KERAS_BACKEND=tensorflow"):
        Apprentice(build(problem), 1, 2, (4, 12), 2)
