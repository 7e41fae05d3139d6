"""Keras's recurrent layers traced into TFLite loops give what Keras gives."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import rnnzoo.layers
from streaming.conversion.keras_loops import keras_loops
from streaming.conversion.rules.base import Constants, Env
from streaming.conversion.tflite import ALLOWED, operations


def traced(model, x):
    """The model as one TFLite graph over a batch of this shape, and what that graph gives."""
    weights = [(variable, variable.numpy()) for variable in model.variables]

    @tf.function(autograph=False)
    def run(x):
        constants = Constants({id(variable): value for variable, value in weights})
        env = Env(x.shape[0], x.shape[1], False, 0, {}, constants)
        with keras.StatelessScope(state_mapping=[(v, constants.get(v)) for v, _ in weights]), keras_loops(env):
            return keras.tree.flatten(model(x, training=False))

    concrete = run.get_concrete_function(tf.TensorSpec(x.shape, x.dtype))
    content = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    assert set(operations(content)) <= ALLOWED
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    details = sorted(interpreter.get_output_details(), key=lambda item: item["name"])
    return [interpreter.get_tensor(item["index"]) for item in details], content


def sequence(steps, *features, batch=2):
    x = np.random.default_rng(0).normal(size=(batch, steps, *features)).astype("float32")
    x[:, [1, steps // 2]] = 0
    x[-1, steps - 2 :] = 0
    return x


class Inner(layers.Layer):
    """A layer of one's own that calls a recurrent layer and a nested model."""

    def __init__(self):
        super().__init__()
        self.memory, self.nested = layers.GRU(4), keras.Sequential([layers.LSTM(3, return_sequences=True)])

    def call(self, x):
        return self.memory(self.nested(x))


LAYERS = {
    "lstm": lambda: layers.LSTM(5, return_sequences=True),
    "lstm last": lambda: layers.LSTM(5),
    "gru reset before": lambda: layers.GRU(5, return_sequences=True, reset_after=False),
    "simple, zero output": lambda: layers.RNN(
        layers.SimpleRNNCell(4), return_sequences=True, zero_output_for_mask=True
    ),
    "stacked": lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(4)], return_sequences=True),
    "backwards": lambda: layers.GRU(4, return_sequences=True, go_backwards=True),
    "bidirectional": lambda: layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
    "bidirectional last": lambda: layers.Bidirectional(layers.GRU(3), merge_mode="sum"),
    "inner": Inner,
    "rnnzoo lstm": lambda: rnnzoo.layers.LSTM(4, return_sequences=True),
    "rnnzoo bidirectional": lambda: rnnzoo.layers.Bidirectional(rnnzoo.layers.GRU(3, return_sequences=True)),
    "minGRU": lambda: rnnzoo.layers.MinGRU(4, return_sequences=True),
}


LONG = ("lstm", "zero output", "bidirectional last")
CASES = [
    (name, steps, masked)
    for name in LAYERS
    for steps in ((3, 20, 100, 131) if name in LONG else (3, 20))
    for masked in ((False,) if name == "inner" else (False, True))
]


@pytest.mark.parametrize(("name", "steps", "masked"), CASES)
def test_recurrent_layers(name, steps, masked):
    x = keras.Input((None, 3))
    model = keras.Model(x, LAYERS[name]()(layers.Masking()(x) if masked else x))
    data = sequence(steps, 3)
    (got,), _ = traced(model, data)
    np.testing.assert_allclose(got, np.asarray(model(data)), atol=2e-6)


def test_within_time_distributed():
    x = keras.Input((6, 5, 3))
    model = keras.Model(x, layers.TimeDistributed(layers.Bidirectional(layers.LSTM(3, return_sequences=True)))(x))
    data = sequence(6, 5, 3)
    np.testing.assert_allclose(traced(model, data)[0][0], np.asarray(model(data)), atol=2e-6)


def test_convolutional_lstm():
    x = keras.Input((7, 6, 6, 2))
    model = keras.Model(x, layers.ConvLSTM2D(3, 3, padding="same")(x))
    data = sequence(7, 6, 6, 2)
    np.testing.assert_allclose(traced(model, data)[0][0], np.asarray(model(data)), atol=2e-6)


def test_states_in_and_out():
    x = keras.Input((None, 3))
    _, *states = layers.LSTM(4, return_state=True)(x)
    model = keras.Model(x, layers.LSTM(4, return_sequences=True)(x, initial_state=states))
    data = sequence(30, 3)
    np.testing.assert_allclose(traced(model, data)[0][0], np.asarray(model(data)), atol=2e-6)


def test_weights_are_stored_once():
    x = keras.Input((None, 8))
    model = keras.Model(x, layers.LSTM(32)(layers.LSTM(32, return_sequences=True)(x)))
    short, long = (len(traced(model, sequence(steps, 8, batch=1))[1]) for steps in (100, 800))
    assert long < 1.02 * short
    assert short < 4 * model.count_params() + 30_000


def test_keras_is_as_it_was():
    before = layers.RNN.call, layers.TimeDistributed.call
    env = Env(1, 1, False, 0, {}, Constants({}))
    with keras_loops(env):
        assert layers.RNN.call is not before[0]
    assert (layers.RNN.call, layers.TimeDistributed.call) == before
    assert "call" not in vars(rnnzoo.layers.MinGRU)
