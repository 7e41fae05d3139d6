"""Drawings: the density against SciPy-free formulas, the loss against the figures, the Markov chain."""

import keras
import numpy as np
import pytest

from rnnzoo.data.source import Source
from rnnzoo.tasks.losses import PenMixtureLoss
from rnnzoo.tasks.sketcher.config import SketcherConfig, StrokesConfig
from rnnzoo.tasks.sketcher.model import build_sketcher
from rnnzoo.tasks.sketcher.task import SketcherTask
from streaming.runtime.decoding.mixtures import PEN_END, PenMixture


def strokes(seed, count=12):
    """Drawings (n, 3) of a few points, some of several strokes."""
    rng = np.random.default_rng(seed)
    drawings = []
    for _ in range(count):
        moves = np.round(rng.normal(0, 80, (rng.integers(3, 9), 2)))
        lifts = rng.random(len(moves)) < 0.4
        lifts[-1] = True
        drawings.append((np.concatenate([moves, lifts[:, None]], axis=1).astype(np.float32), None))
    return drawings


def made(**options):
    config = StrokesConfig(dataset="drawn", **options)
    splits = {"train": strokes(1), "dev": strokes(2), "test": strokes(3)}
    return SketcherTask.from_source(Source("strokes", splits), config, seed=1)


def brute_density(row, move, floor):
    """The density of a movement by the formula of a normal distribution with a full covariance."""
    parts, total = row[:-3].reshape(-1, 6), 0.0
    weights = np.exp(parts[:, 0]) / np.exp(parts[:, 0]).sum()
    for weight, part in zip(weights, parts, strict=True):
        deviations, rho = floor + np.exp(part[3:5]), 0.95 * np.tanh(part[5])
        cross = rho * deviations[0] * deviations[1]
        covariance = np.array([[deviations[0] ** 2, cross], [cross, deviations[1] ** 2]])
        away = move - part[1:3]
        power = np.exp(-0.5 * away @ np.linalg.inv(covariance) @ away)
        total += weight * power / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
    return total


def test_the_density_is_that_of_normal_distributions_with_full_covariances():
    rng = np.random.default_rng(0)
    rows, moves = rng.normal(0, 1, (5, 27)), rng.normal(0, 1, (5, 2))
    mixture = PenMixture.read(rows, 0.01)
    expected = [brute_density(row, move, 0.01) for row, move in zip(rows, moves, strict=True)]
    np.testing.assert_allclose(np.exp(mixture.log_density(moves)), expected, rtol=1e-9)
    np.testing.assert_allclose(np.exp(mixture.pens).sum(axis=-1), 1)


def test_draws_have_the_means_and_the_spread_of_the_density():
    row = np.zeros(15)
    row[[1, 2, 7, 8]] = 3, -2, 3, -2
    row[[3, 9]], row[[4, 10]], row[[5, 11]] = np.log(0.5), np.log(2.0), 1.0
    row[-3:] = 0, 1, -20
    mixture, rng = PenMixture.read(row, 0.0), np.random.default_rng(3)
    drawn = [mixture.draw(rng) for _ in range(20000)]
    moves = np.array([[move.dx, move.dy] for move in drawn])
    np.testing.assert_allclose(moves.mean(axis=0), [3, -2], atol=0.05)
    np.testing.assert_allclose(moves.std(axis=0), [0.5, 2.0], rtol=0.03)
    assert np.corrcoef(moves.T)[0, 1] == pytest.approx(0.95 * np.tanh(1), abs=0.01)
    assert np.mean([move.pen == 1 for move in drawn]) == pytest.approx(np.e / (1 + np.e), abs=0.02)
    half = np.array([[m.dx, m.dy] for m in (mixture.draw(rng, 0.25) for _ in range(5000))])
    np.testing.assert_allclose(half.std(axis=0), [0.25, 1.0], rtol=0.05)
    sure = mixture.draw(rng, 0.0)
    assert (sure.dx, sure.dy, sure.pen) == (3, -2, 1)
    density = brute_density(row, np.array([3, -2]), 0.0) * np.e / (1 + np.e + np.exp(-20))
    assert sure.score == pytest.approx(np.log(density))


def test_the_loss_is_the_figure():
    task = made()
    model = build_sketcher(SketcherConfig(units=8, mixtures=3), task.encoder)
    figures = task.evaluate(model, "dev")
    loss, total, count = PenMixtureLoss(0.01, reduction=None), 0.0, 0.0
    for _, (inputs, targets, weights) in task.batches("dev", 5):
        losses = keras.ops.convert_to_numpy(loss(targets, model(inputs)))
        total, count = total + float((losses * weights).sum()), count + float(weights.sum())
    assert figures["nats"] == pytest.approx(total / count, abs=1e-4)
    assert figures["nats"] == pytest.approx(figures["movement_nats"] + figures["pen_nats"])
    assert figures["count"] == count == sum(len(points) for points, _ in task.examples("dev"))


def test_a_drawing_begins_with_the_pen_up_and_ends_with_its_last_point():
    task = made()
    points, row = task.examples("train")[0][0], task.arrays("train")[0]
    np.testing.assert_array_equal(row["rows"][0], [0, 0, 1])
    np.testing.assert_allclose(row["rows"][1:, :2] * task.encoder.scale[0], points[:-1, :2], rtol=1e-5)
    np.testing.assert_allclose(row["targets"][:, :2] * task.encoder.scale[0], points[:, :2], rtol=1e-5)
    assert row["targets"][-1, 2] == PEN_END
    np.testing.assert_array_equal(row["targets"][:-1, 2], points[:-1, 2])


def test_training_drawings_are_stretched_and_turned_as_a_whole():
    task = made(stretch=0.2, rotate=10)
    row = task.arrays("train")[0]
    changed = task.augment(row, np.random.default_rng(5))
    np.testing.assert_allclose(changed["rows"][1:], np.delete(changed["rows"], 0, axis=0))
    np.testing.assert_allclose(changed["rows"][1:, :2], changed["targets"][:-1, :2], rtol=1e-5)
    # One linear map for all movements: that of the first two gives the others.
    first = np.linalg.lstsq(row["targets"][:, :2], changed["targets"][:, :2], rcond=None)[0]
    np.testing.assert_allclose(row["targets"][:, :2] @ first, changed["targets"][:, :2], atol=1e-5)
    assert 0.75 < np.linalg.det(first) < 1.45
    assert not np.allclose(first, np.eye(2), atol=0.01)
    np.testing.assert_array_equal(row["targets"][:, 2], changed["targets"][:, 2])


def test_the_chain_knows_what_follows_a_direction():
    # After a movement to the right comes one down, after that one to the right; the pen is lifted after those.
    moves = [[100, 0, 0], [0, 100, 1]] * 10
    rng = np.random.default_rng(0)
    train = [(np.array(moves, np.float32) + np.r_[rng.normal(0, 2, 2), 0].astype(np.float32), None) for _ in range(9)]
    splits = dict.fromkeys(("train", "dev", "test"), train)
    task = SketcherTask.from_source(Source("strokes", splits), StrokesConfig(dataset="drawn"), seed=1)
    baseline = task.baseline("dev")
    assert baseline.name == "Markov chain of mixtures"
    assert baseline.figures["pen_nats"] < 0.2
    assert baseline.figures["movement_nats"] < -3
    wrong = made().baseline("dev")
    assert wrong.figures["nats"] > 1
