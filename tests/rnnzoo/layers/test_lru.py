"""How a linear recurrent unit begins, by the paper's appendix."""

import keras
import numpy as np

from rnnzoo.layers import LRUCell


def begun(seed=None):
    cell = LRUCell(500, seed=seed)
    cell.build((None, 3))
    return [np.asarray(weight.numpy(), np.float64) for weight in (cell.nu, cell.theta, cell.gamma)]


def test_it_starts_on_the_ring_with_a_state_as_large_as_its_inputs():
    nu, theta, gamma = begun(seed=3)
    length, angle = np.exp(-np.exp(nu)), np.exp(theta)
    assert 0.9 <= length.min() < 0.92
    assert 0.99 < length.max() <= 0.999
    assert 0 < angle.min() < 0.1
    assert 6.2 < angle.max() <= 2 * np.pi + 1e-5
    np.testing.assert_allclose(np.exp(gamma), np.sqrt(1 - length**2), rtol=1e-3)
    # Area of the ring is uniform, and has nothing to do with the angle.
    assert abs(np.mean((length**2 - 0.81) / (0.998001 - 0.81)) - 0.5) < 0.05
    assert abs(np.corrcoef(length, angle)[0, 1]) < 0.15


def test_its_state_is_a_real_and_an_imaginary_part():
    layer = keras.layers.RNN(LRUCell(3, state_units=5), return_state=True)
    output, *states = layer(np.ones((2, 4, 3), "f4"))
    assert [tuple(part.shape) for part in (output, *states)] == [(2, 3), (2, 5), (2, 5)]


def test_its_seed_or_that_of_the_program_decides():
    np.testing.assert_array_equal(begun(seed=3)[0], begun(seed=3)[0])
    keras.utils.set_random_seed(1)
    first = begun()
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(first[0], begun()[0])
    assert not np.array_equal(first[0], begun()[0])
