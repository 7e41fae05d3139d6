"""What the wrappers and the cells do while training: masks that stay over a sequence, and noise that does not."""

import keras
import numpy as np
import pytest

from rnnzoo.layers import (
    ElmanCell,
    GRUCell,
    HighwayCell,
    LSTMCell,
    ResidualCell,
    VariationalDropoutCell,
    WeightDropoutCell,
    ZoneoutCell,
)


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((16, 9, 8)).astype("float32")


class Identity(keras.layers.Layer):
    """y = x, s = s + x: shows what a wrapper does to inputs, outputs and states."""

    def __init__(self, size=8):
        super().__init__()
        self.state_size = self.output_size = size

    def call(self, x, states):
        return x, [states[0] + x]


def run(cell, x, training=True, **kwargs):
    return np.asarray(keras.layers.RNN(cell, return_sequences=True, **kwargs)(x, training=training))


def test_variational_masks_stay_over_a_sequence_and_change_with_the_next():
    ones = np.ones((64, 9, 8), "float32")
    layer = keras.layers.RNN(VariationalDropoutCell(Identity(), 0.25, seed=1), return_sequences=True)
    first, second = (np.asarray(layer(ones, training=True)) for _ in range(2))
    assert (first == first[:, :1]).all()
    np.testing.assert_allclose(np.unique(first), [0, 1 / 0.75], rtol=1e-6)
    assert 0.2 < (first[:, 0] == 0).mean() < 0.3
    assert (first != second).any()
    assert (first[0, 0] != first[1, 0]).any()
    np.testing.assert_array_equal(layer(ones, training=False), ones)


def test_both_masks_of_variational_dropout_are_their_own():
    ones = np.ones((200, 3, 8), "float32")
    y = run(VariationalDropoutCell(Identity(), 0.5, 0.5, seed=1), ones)
    assert 0.2 < (y != 0).mean() < 0.3
    np.testing.assert_allclose(np.unique(y), [0, 4])


def test_the_same_seed_gives_the_same_masks(x):
    for make in (
        lambda seed: VariationalDropoutCell(GRUCell(8), 0.3, seed=seed),
        lambda seed: WeightDropoutCell(GRUCell(8, kernel_initializer="ones", recurrent_initializer="ones"), seed=seed),
        lambda seed: ZoneoutCell(Identity(), 0.3, seed=seed),
    ):
        keras.utils.set_random_seed(1)
        one = run(make(5), x)
        keras.utils.set_random_seed(1)
        np.testing.assert_array_equal(run(make(5), x), one)
        keras.utils.set_random_seed(1)
        if not isinstance(make(5).cell, Identity):
            assert (run(make(6), x) != one).any()


def test_weight_dropout_drops_the_same_connections_at_all_steps():
    """A recurrent matrix of ones and inputs of zero: h[t] = h[t-1] R' tells R' at each step."""
    cell = WeightDropoutCell(
        ElmanCell(8, activation="linear", use_bias=False, recurrent_initializer="ones"), 0.5, seed=3
    )
    layer = keras.layers.RNN(cell, return_sequences=True)
    state = np.eye(8, dtype="float32")
    y = np.asarray(layer(np.zeros((8, 4, 2), "float32"), initial_state=[state], training=True))
    dropped = y[:, 0]
    np.testing.assert_allclose(np.unique(dropped), [0, 2])
    assert 0.3 < (dropped == 0).mean() < 0.7
    for t in range(1, 4):
        np.testing.assert_allclose(y[:, t], np.linalg.matrix_power(dropped, t + 1), rtol=1e-4)
    again = np.asarray(layer(np.zeros((8, 4, 2), "float32"), initial_state=[state], training=True))
    assert (again[:, 0] != dropped).any()
    np.testing.assert_array_equal(cell.cell.recurrent_kernel, np.ones((8, 8)))


def test_weight_dropout_gives_no_gradient_to_what_is_dropped(x):
    import tensorflow as tf

    cell = WeightDropoutCell(ElmanCell(8), 0.5, seed=3)
    layer = keras.layers.RNN(cell)
    layer.build(x.shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True) ** 2)
    gradient = np.asarray(tape.gradient(loss, cell.cell.recurrent_kernel.value))
    assert 0.2 < (gradient == 0).mean() < 0.8
    assert np.isfinite(gradient).all()


def test_zoneout_keeps_units_anew_at_each_step():
    ones = np.ones((64, 9, 8), "float32")
    cell = ZoneoutCell(Identity(), 0.25, seed=1)
    layer = keras.layers.RNN(cell, return_state=True, return_sequences=True)
    state = np.asarray(layer(ones, training=True)[1])
    assert set(np.unique(state)) <= set(range(10))
    assert abs(state.mean() - 9 * 0.75) < 0.2
    assert len(np.unique(state)) > 3
    np.testing.assert_allclose(np.asarray(layer(ones, training=False)[1]), 9 * 0.75, rtol=1e-6)


def test_zoneout_of_an_lstm_puts_out_the_state_that_it_keeps(x):
    layer = keras.layers.RNN(ZoneoutCell(LSTMCell(8), 0.5, seed=1), return_sequences=True, return_state=True)
    y, h, _ = layer(x, training=True)
    np.testing.assert_array_equal(y[:, -1], h)
    kept = np.asarray(y)[:, 1:] == np.asarray(y)[:, :-1]
    assert 0.4 < kept.mean() < 0.6


@pytest.mark.parametrize("option", ["dropout", "recurrent_dropout"])
def test_the_cells_own_masks_stay_over_a_sequence(option):
    """Linear, with unit weights: what is dropped is seen in the output, the same at each step."""
    cell = ElmanCell(
        8, activation="linear", kernel_initializer="identity", recurrent_initializer="identity", seed=2, **{option: 0.5}
    )
    layer = keras.layers.RNN(cell, return_sequences=True)
    ones = np.ones((32, 5, 8), "float32")
    start = np.ones((32, 8), "float32")
    x = ones if option == "dropout" else 0 * ones
    y = np.asarray(layer(x, initial_state=[start], training=True))
    gone = y[:, 0] == (1 if option == "dropout" else 0)
    assert 0.4 < gone.mean() < 0.6
    if option == "dropout":
        np.testing.assert_allclose(np.diff(y, axis=1), np.where(gone, 0, 2)[:, None] * np.ones((1, 4, 1)))
    else:
        np.testing.assert_allclose(y[:, 3], np.where(gone, 0, 16))
    np.testing.assert_array_equal(layer(x, initial_state=[start], training=False)[:, 0], x[:, 0] + start)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ResidualCell(ZoneoutCell(LSTMCell(8, dropout=0.2, recurrent_dropout=0.2), 0.1)),
        *(
            pytest.param(make, marks=pytest.mark.slow)
            for make in (
                lambda: HighwayCell(VariationalDropoutCell(WeightDropoutCell(GRUCell(8)), 0.2, 0.2)),
                lambda: WeightDropoutCell(ZoneoutCell(keras.layers.GRUCell(8, recurrent_dropout=0.1))),
            )
        ),
    ],
    ids=["residual", "highway", "weights"],
)
def test_wrappers_of_wrappers_learn(make, x):
    model = keras.Sequential([keras.Input((None, 8)), keras.layers.RNN([make(), make()]), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.03), "mse", jit_compile=False)
    target = x.mean(axis=(1, 2))[:, None]
    before = model.evaluate(x, target, verbose=0)
    model.fit(x, target, epochs=12, verbose=0)
    assert model.evaluate(x, target, verbose=0) < 0.7 * before
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ResidualCell(keras.layers.Dense(3)), "cell=Dense"),
        (lambda: ZoneoutCell(keras.layers.StackedRNNCells([GRUCell(3)])), "cell=StackedRNNCells"),
        (lambda: ZoneoutCell(LSTMCell(3), (0.1, 0.2, 0.3)), "rate=(0.1, 0.2, 0.3)"),
        (lambda: ZoneoutCell(LSTMCell(3), 1.0), "rate=1.0"),
        (lambda: VariationalDropoutCell(LSTMCell(3), -0.1), "input_rate=-0.1"),
        (lambda: WeightDropoutCell(LSTMCell(3), 1), "rate=1"),
        (lambda: WeightDropoutCell(LSTMCell(3), weights=["kernle"]).build((None, 3)), "'kernle'"),
        (lambda: ResidualCell(LSTMCell(3)).build((None, 4)), "(None, 4)"),
        (lambda: HighwayCell(LSTMCell(3)).build((None, 4)), "(None, 4)"),
    ],
)
def test_what_cannot_be_wrapped_is_named(make, said):
    with pytest.raises(ValueError, match="expected") as error:
        make()
    assert said in str(error.value)
    assert "\n" not in str(error.value)
