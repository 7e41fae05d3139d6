"""Every layer that streams works inside a window, too, and so do those that only a window allows."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from small_models import randomize
from test_keras_layers import GROUPS

import streaming

W = 9
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
}


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
