"""The cells beside Keras's own, and what they say to bad arguments."""

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.layers import RNN, ElmanCell, FastGRNNCell, GRUCell, IndRNNCell, LayerNormLSTMCell, LSTMCell


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ElmanCell(6), keras.layers.SimpleRNNCell(6)),
        (LSTMCell(6), keras.layers.LSTMCell(6)),
        (LSTMCell(6, use_bias=False), keras.layers.LSTMCell(6, use_bias=False)),
        (GRUCell(6), keras.layers.GRUCell(6)),
        (GRUCell(6, reset_after=False), keras.layers.GRUCell(6, reset_after=False)),
    ],
    ids=["elman", "lstm", "lstm-no-bias", "gru", "gru-reset-before"],
)
def test_weights_and_results_are_those_of_keras(ours, theirs):
    x = np.random.default_rng(0).standard_normal((3, 9, 4)).astype("float32")
    layers = [keras.layers.RNN(cell, return_sequences=True) for cell in (ours, theirs)]
    for layer in layers:
        layer.build(x.shape)
    assert [(w.name, w.shape) for w in ours.weights] == [(w.name, w.shape) for w in theirs.weights]
    if ours.use_bias:
        np.testing.assert_array_equal(ours.bias, theirs.bias)  # the forget gate's ones too
    ours.set_weights([w + 0.1 for w in theirs.get_weights()])
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(layers[0](x), layers[1](x), atol=1e-6)


def test_regularizers_and_constraints_act_on_their_weights():
    cell = GRUCell(3, kernel_regularizer="l2", recurrent_constraint="non_neg", bias_initializer="ones")
    cell.build((None, 2))
    assert len(cell.losses) == 1
    assert cell.recurrent_kernel.constraint is not None
    np.testing.assert_array_equal(cell.bias, np.ones((2, 9)))
    again = GRUCell.from_config(cell.get_config())
    assert again.get_config() == cell.get_config()


def test_an_irnn_starts_as_an_accumulator():
    cell = ElmanCell(4, activation="relu", recurrent_initializer="identity", kernel_initializer="identity")
    y = RNN(cell)(np.ones((1, 5, 4), "float32"))
    np.testing.assert_array_equal(y, np.full((1, 4), 5))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ElmanCell(0), "units=0"),
        (lambda: LSTMCell(-3), "units=-3"),
        (lambda: GRUCell(2.5), "units=2.5"),
        (lambda: GRUCell(True), "units=True"),
        (lambda: LSTMCell(4, projection=0), "projection=0"),
        (lambda: ElmanCell(4, dropout=1.0), "dropout=1.0"),
        (lambda: ElmanCell(4, recurrent_dropout=-0.5), "recurrent_dropout=-0.5"),
        (lambda: ElmanCell(4, peepholes=True), "peepholes=True"),
        (lambda: GRUCell(4, coupled=True), "coupled=True"),
        (lambda: LayerNormLSTMCell(4, peepholes=True), "peepholes=True"),
        (lambda: IndRNNCell(4, recurrent_activation="sigmoid"), "recurrent_activation='sigmoid'"),
    ],
)
def test_impossible_options_are_named(make, said):
    with pytest.raises(ValueError, match="expected") as error:
        make()
    assert f"Received: {said}" in str(error.value)
    assert "\n" not in str(error.value)


X = np.zeros((2, 5, 3), "float32")


def test_a_cell_names_states_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"LSTMCell: expected states h \(B, 4\), c \(B, 4\)\. Received: shapes \(2, 3\)"
    ):
        LSTMCell(4)(X[:, 0], [X[:, 0]])


def test_rnn_streams_stacks_masks_and_saves_as_keras_has_it(tmp_path):
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, RNN([GRUCell(4), FastGRNNCell(2)], return_sequences=True)(inputs))
    report = streaming.convert(model, tmp_path / "rnn.tflite")
    assert report.max_abs_error < 1e-5
    model.save(tmp_path / "rnn.keras")
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "rnn.keras")(x), model(x))


def test_nan_in_a_recurrent_weight_stops_the_conversion(tmp_path):
    inputs = keras.Input((None, 3))
    cell = GRUCell(4)
    model = keras.Model(inputs, RNN(cell)(inputs))
    cell.recurrent_kernel.assign(np.full((4, 12), np.nan))
    with pytest.raises(streaming.StreamingError, match=r"recurrent_kernel.*NaN"):
        streaming.convert(model, tmp_path / "nan.tflite")
    assert not list(tmp_path.iterdir())
