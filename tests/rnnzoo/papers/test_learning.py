"""The loop that trains the networks of papers, and how their gates begin."""

import keras
import numpy as np
import pytest

from rnnzoo.papers.learning import predictor, train
from rnnzoo.papers.networks import KINDS, open_gates, recurrent_layer


def line(rate, **options):
    """A straight line through (x, 2 x)."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    x = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
    loss, optimizer = keras.losses.MeanSquaredError(), keras.optimizers.SGD(rate)
    return model, train(model, lambda _: (x, 2 * x), loss=loss, optimizer=optimizer, every=10, **options)


def test_training_ends_once_the_problem_is_solved():
    scores = iter([0.2, 0.99, 1.0])
    model, learned = line(0.5, updates=100, score=lambda: next(scores), solved=lambda score: score > 0.9)
    assert (learned.updates, learned.solved, learned.diverged, learned.scores) == (20, True, False, [0.2, 0.99])
    assert len(learned.losses) == len(learned.norms) == 2
    # The first gradient, -4 mean(x^2), is the largest.
    assert learned.norms[0] == pytest.approx(4 * np.mean(np.linspace(-1, 1, 8) ** 2), rel=1e-5)
    assert learned.losses[1] < learned.losses[0]
    assert predictor(model)(np.ones((1, 1), np.float32))[0, 0] == pytest.approx(2.0, abs=0.05)


def test_a_loss_that_is_no_number_ends_the_training():
    _, learned = line(1e30, updates=50)
    assert learned.diverged
    assert not learned.solved
    assert learned.updates < 10


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_open_gates_keep_a_state_for_as_long_as_asked(kind):
    layer = recurrent_layer(kind, 64)
    layer.build((None, None, 3))
    open_gates(layer, 100)
    layer.cell.kernel.assign(np.zeros(layer.cell.kernel.shape))
    layer.cell.recurrent_kernel.assign(np.zeros(layer.cell.recurrent_kernel.shape))
    ones = [np.ones((1, 64), np.float32)] * (2 if kind == "lstm" else 1)
    kept = np.asarray(layer.cell(np.zeros((1, 3), np.float32), ones)[1][-1])[0]
    # A share k is left after a step: times 1 / (1 - k) of 1 to 100 steps, of which half are above 50.
    times = 1 / (1 - kept)
    assert 1 < times.min() < 20
    assert 80 < times.max() < 101
    assert 35 < np.median(times) < 65


def test_every_kind_of_layer_is_made():
    for kind in KINDS:
        layer = recurrent_layer(kind, 4, steps=10, return_sequences=True)
        assert layer(np.zeros((2, 5, 3), np.float32)).shape == (2, 5, 4)
