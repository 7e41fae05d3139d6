"""The parallel scan against a plain loop in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from rnnzoo.layers import linear_scan

LENGTHS = (1, 5, 32, 33, 64, 100, 1000)


def loop(a, b, h):
    rows = []
    for t in range(b.shape[1]):
        h = a[:, t] * h + b[:, t]
        rows.append(h)
    return np.stack(rows, axis=1)


def example(steps, dtype="float64"):
    generator = np.random.default_rng(steps)
    a, b = generator.uniform(-1, 1, (2, steps, 3)), generator.normal(size=(2, steps, 3))
    return a.astype(dtype), b.astype(dtype), generator.normal(size=(2, 3)).astype(dtype)


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("reverse", [False, True])
def test_equals_the_loop(steps, reverse):
    a, b, h = example(steps)
    expected = loop(a[:, ::-1], b[:, ::-1], h)[:, ::-1] if reverse else loop(a, b, h)
    np.testing.assert_allclose(ops.convert_to_numpy(linear_scan(a, b, h, reverse=reverse)), expected, atol=1e-12)


@pytest.mark.parametrize("steps", [5, 100])
def test_complex_equals_the_loop(steps):
    a, b, h = example(steps)
    a, b, h = a * np.exp(1j * b), b + 1j * a, h * (1 + 2j)
    real, imaginary = linear_scan((a.real, a.imag), (b.real, b.imag), (h.real, h.imag))
    np.testing.assert_allclose(real.numpy() + 1j * imaginary.numpy(), loop(a, b, h), atol=1e-12)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_unknown_length_and_its_gradient(compiled):
    any_length = [tf.TensorSpec((None, None, 3), tf.float64)] * 2 + [tf.TensorSpec((None, 3), tf.float64)]

    @tf.function(input_signature=any_length, jit_compile=compiled)
    def both(*values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            h = linear_scan(*values)
            loss = tf.reduce_sum(h**2)
        return h, tape.gradient(loss, values)

    for steps in (3, 100):
        values = example(steps)
        h, slopes = both(*values)
        np.testing.assert_allclose(h.numpy(), loop(*values), atol=1e-12)
        for place, slope in enumerate(slopes):
            move = np.random.default_rng(place).normal(size=values[place].shape)
            moved = [[v + s * 1e-6 * move if i == place else v for i, v in enumerate(values)] for s in (1, -1)]
            up, down = (np.sum(loop(*m) ** 2) for m in moved)
            assert np.sum(slope.numpy() * move) == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("gate", [0.0, 1e-30, 1.0])
def test_extreme_gates_over_65536_steps_in_float32(gate):
    _, b, h = example(65536, "float32")
    a = np.full_like(b, gate)
    expected = loop(a.astype("float64"), b.astype("float64"), h.astype("float64"))
    got = linear_scan(a, b, h).numpy()
    assert np.max(np.abs(got - expected)) < 1e-5 * max(1, np.max(np.abs(expected)))


def test_masked_steps_hold_the_state():
    a, b, h = example(70)
    keep = np.random.default_rng(0).random((2, 70)) < 0.5
    expected = loop(np.where(keep[..., None], a, 1), np.where(keep[..., None], b, 0), h)
    np.testing.assert_allclose(linear_scan(a, b, h, mask=ops.convert_to_tensor(keep)).numpy(), expected, atol=1e-12)


def test_bad_input_is_named():
    a, b, h = example(5)
    with pytest.raises(ValueError, match="one step or more"):
        linear_scan(a[:, :0], b[:, :0])
    with pytest.raises(ValueError, match="initial state"):
        linear_scan(a, b, h[:, :2])
    with pytest.raises(ValueError, match="broadcasts to b"):
        linear_scan(a[:, :4], b)
    with pytest.raises(ValueError, match="boolean mask"):
        linear_scan(a, b, mask=ops.ones((2, 5)))
