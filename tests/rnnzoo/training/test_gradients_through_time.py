"""Gradients through time, against what linear algebra says of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.errors import ConfigError
from rnnzoo.layers import GRU, LSTM, Bidirectional, SimpleRNN
from rnnzoo.training.penalty import JacobianPenalized, jacobian_penalty
from rnnzoo.training.probing import probe

B, T, D, U = 2, 6, 3, 4


def rows(seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=(B, T, D)).astype("float32"))


def gradients(model, x, weights=None):
    """dL/dh[t] of L = sum of the last output (times weights)."""
    probed = probe(model)
    pushes = probed.zeros(B, T)
    with tf.GradientTape() as tape:
        tape.watch(pushes)
        found = probed.model({"rows": x, **pushes})
        loss = tf.reduce_sum(found["output"] * (1.0 if weights is None else weights))
    return probed, found, tape.gradient(loss, pushes)


def test_a_linear_recurrence_goes_back_by_powers_of_its_matrix():
    inputs = keras.Input((None, D), name="rows")
    layer = SimpleRNN(U, activation="linear", name="linear")
    model = keras.Model({"rows": inputs}, layer(inputs))
    matrix = np.asarray(layer.cell.recurrent_kernel)
    _, _, back = gradients(model, rows())
    for k in range(T):
        expected = np.linalg.matrix_power(matrix, k) @ np.ones(U)
        np.testing.assert_allclose(back["linear_push"][0, T - 1 - k], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [SimpleRNN, LSTM, GRU])
def test_a_probed_model_gives_the_same_outputs(layer):
    inputs = keras.Input((None, D), name="rows")
    x = Bidirectional(layer(U, return_sequences=True), name="both")(inputs)
    model = keras.Model({"rows": inputs}, keras.layers.Dense(2)(layer(U, name="last")(x)))
    probed, found, _ = gradients(model, rows())
    assert [p.name for p in probed.probes] == ["both/forward", "both/backward", "last"]
    np.testing.assert_allclose(found["output"], model({"rows": rows()}), rtol=1e-5, atol=1e-6)
    assert {id(v) for v in probed.model.weights} == {id(v) for v in model.weights}


def elman(activation="tanh"):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None, D), name="rows")
    layer = SimpleRNN(U, activation=activation, recurrent_initializer="glorot_uniform", name="elman")
    return keras.Model({"rows": inputs}, layer(inputs)), layer


def test_the_penalty_is_equation_9():
    model, layer = elman()
    probed, found, back = gradients(model, rows())
    matrix, h = np.asarray(layer.cell.recurrent_kernel, np.float64), np.asarray(found["elman"]["states"], np.float64)
    delta = np.asarray(back["elman_push"], np.float64)
    carried = np.einsum("btu,vu->btv", delta[:, 1:] * (1 - h[:, 1:] ** 2), matrix)
    ratios = np.linalg.norm(carried, axis=-1) / np.linalg.norm(delta[:, 1:], axis=-1)
    omega = jacobian_penalty(probed.probes[0], found["elman"], back["elman_push"])
    np.testing.assert_allclose(omega, np.mean((ratios - 1) ** 2), rtol=1e-4)


def test_training_with_the_penalty_brings_the_ratios_to_one():
    model, _ = elman()
    trained = JacobianPenalized(model, 1.0)
    trained.compile(keras.optimizers.SGD(0.1), loss=lambda y, p: 1e-3 * keras.ops.sum(p, axis=-1), jit_compile=False)

    def omega():
        probed, found, back = gradients(model, rows())
        return float(jacobian_penalty(probed.probes[0], found["elman"], back["elman_push"]))

    before = omega()
    data = tf.data.Dataset.from_tensors(({"rows": rows()}, tf.zeros((B, 1)), tf.ones((B,)))).repeat()
    trained.fit(data, steps_per_epoch=60, shuffle=False, verbose=0)
    assert omega() < 0.3 * before
    assert {id(v) for v in trained.weights} == {id(v) for v in model.weights}


def test_the_penalty_needs_a_recurrent_layer():
    inputs = keras.Input((None, D), name="rows")
    model = keras.Model({"rows": inputs}, keras.layers.Dense(2)(inputs))
    with pytest.raises(ConfigError, match=r"training\.jacobian_penalty=0\.5 finds no recurrent layer"):
        JacobianPenalized(model, 0.5)
