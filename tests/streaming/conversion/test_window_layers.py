"""Every layer that streams works inside a window, too, and so do those that only a window allows."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from small_models import randomize
from test_keras_layers import GROUPS

import streaming

W = 9


class Smooth(layers.Layer):
    """y[t] = (y[t - 1] + x[t]) / 2, by `ops.scan`."""

    def __init__(self, reverse: bool = False) -> None:
        super().__init__()
        self.reverse = reverse

    def call(self, x):
        def step(y, row):
            y = (y + row) / 2
            return y, y

        _, rows = ops.scan(step, ops.zeros_like(x[:, 0]), ops.transpose(x, (1, 0, 2)), reverse=self.reverse)
        return ops.transpose(rows, (1, 0, 2))


class LastSteps(layers.Layer):
    def call(self, x):
        return tf.identity(x)[:, -6:]

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] and 6, *shape[2:])


ONLY_IN_WINDOWS = {
    "Flatten": lambda x: layers.Dense(2)(layers.Flatten()(x)),
    "Reshape": lambda x: layers.Reshape((4, W))(x),
    "Permute": lambda x: layers.Permute((2, 1))(x),
    "RepeatVector": lambda x: layers.RepeatVector(W)(layers.LSTM(3)(x)),
    "GroupNormalization": lambda x: layers.GroupNormalization(2)(x),
    "Softmax": lambda x: layers.Softmax(axis=1)(x),
    "BatchNormalization": lambda x: layers.BatchNormalization(axis=1)(x),
    "PReLU": lambda x: layers.PReLU()(x),
    "go_backwards": lambda x: layers.GRU(3, go_backwards=True, return_sequences=True)(x),
    "full attention": lambda x: layers.MultiHeadAttention(2, 3)(x, x),
    "dot product": lambda x: layers.Dot((2, 2))([x, layers.Dense(4)(x)]),
    "attention": lambda x: layers.Attention()([x, layers.Dense(4)(x)]),
    "additive": lambda x: layers.AdditiveAttention()([x, layers.Dense(4)(x)]),
    "interpolated": lambda x: layers.AdaptiveAveragePooling1D(3)(x),
    "joined along time": lambda x: layers.Concatenate(axis=1)([x, x]),
    "resized": lambda x: layers.Resizing(5, 7)(layers.Reshape((W, 4, 1))(x)),
    "scanned": lambda x: Smooth()(x),
    "backward scan": lambda x: Smooth(reverse=True)(x),
    # More steps than a trial of an unknown layer would have if nothing was known of it.
    "last steps": lambda x: layers.Lambda(lambda y: y[:, -6:])(x),
    "last steps by TensorFlow": lambda x: LastSteps()(x),
}


@pytest.mark.slow
@pytest.mark.parametrize("group", [*GROUPS, "only in windows"])
def test_layers_inside_a_window(group, tmp_path):
    build = GROUPS.get(group, ONLY_IN_WINDOWS)
    keras.utils.set_random_seed(0)
    x = keras.Input((W, 4))
    model = randomize(keras.Model(x, {name: make(x) for name, make in build.items()}))
    streaming.convert(model, tmp_path / "m.tflite", window=W, hop=2)
    stream = streaming.load(tmp_path / "m.tflite").create_stream()
    data = np.random.default_rng(1).normal(size=(W + 5, 4)).astype("float32")
    rows = stream.feed(data)
    wanted = model(np.stack([data[k : k + W] for k in (0, 2, 4)]), training=False)
    names = {
        name: next(out for out in rows if out.lower() == "".join(c if c.isalnum() else "_" for c in name).lower())
        for name in wanted
    }
    for name, want in wanted.items():
        np.testing.assert_allclose(rows[names[name]], want, rtol=1e-4, atol=2e-5, err_msg=name)


class Sampling(layers.Layer):
    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=1)


def test_random_numbers_at_inference_are_refused_by_the_layer_that_draws_them(tmp_path):
    x = keras.Input((W, 4))
    model = keras.Model(x, layers.Dense(2)(Sampling(name="draw")(layers.Dense(3)(layers.Flatten()(x)))))
    with pytest.raises(streaming.NotStreamableError, match=r"layer 'draw' draws random numbers.*noise as an input"):
        streaming.convert(model, tmp_path / "m.tflite")
