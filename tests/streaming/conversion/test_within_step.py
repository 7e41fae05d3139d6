"""Values without a time axis: every step has a whole tensor, and any Keras layer may work on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import streaming

STEPS = 6


def rows_of(model: keras.Model, path: Path, *inputs: np.ndarray, **options: Any) -> list[np.ndarray]:
    streaming.convert(model, path, verify=False, **options)
    loaded = streaming.load(path)
    names = [info.name for info in loaded.metadata.inputs]
    found = loaded.create_stream().feed(dict(zip(names, inputs, strict=True)))
    return list(found.values()) if isinstance(found, dict) else [found]


def check_every_step(model: keras.Model, path: Path, x: np.ndarray, *static: np.ndarray, **options: Any) -> None:
    rows = rows_of(model, path, x, *static, **options)
    for steps in (1, 3, STEPS):
        given = [np.stack([x[:steps]] * 2), *(np.stack([value] * 2) for value in static)]
        wanted = keras.tree.flatten(model(given if static else given[0], training=False))
        for output, values, row in zip(model.outputs, wanted, rows, strict=True):
            np.testing.assert_allclose(row[steps - 1], np.asarray(values)[0], atol=2e-6, err_msg=output.name)


@pytest.mark.slow
def test_layers_over_a_repeated_running_value(tmp_path: Path) -> None:
    x = keras.Input((None, 6))
    h = layers.RepeatVector(3)(layers.LSTM(4)(x))
    y = layers.GRU(4, return_sequences=True)(layers.Bidirectional(layers.LSTM(3, return_sequences=True))(h))
    found = [
        layers.TimeDistributed(layers.Dense(2))(y),
        layers.LSTM(3, go_backwards=True, return_sequences=True)(y),
        layers.Conv1D(3, 2, padding="same")(y),
        layers.MaxPooling1D(2)(y),
        layers.GlobalAveragePooling1D()(y),
        layers.Flatten()(layers.GroupNormalization(2)(y)),
        layers.MultiHeadAttention(2, 3)(y, y),
        layers.Attention()([y, h[:, :, :4]]),
        layers.Dot(axes=2)([y, y]),
        layers.Softmax(axis=1)(y),
        y[:, 1],
    ]
    values = np.random.default_rng(0).standard_normal((STEPS, 6)).astype("float32")
    check_every_step(keras.Model(x, found), tmp_path / "a.tflite", values, chunk=2)


def test_predictions_fed_back_to_the_cell(tmp_path: Path) -> None:
    """TensorFlow's forecasting tutorial: the cell goes on with its own predictions."""
    x = keras.Input((None, 5))
    cell, dense = layers.LSTMCell(4), layers.Dense(5)
    y, *states = layers.RNN(cell, return_state=True)(x)
    predictions = [dense(y)]
    for _ in range(2):
        y, states = cell(predictions[-1], states)
        predictions.append(dense(y))
    values = np.random.default_rng(1).standard_normal((STEPS, 5)).astype("float32")
    check_every_step(keras.Model(x, ops.stack(predictions, axis=1)), tmp_path / "a.tflite", values)


def test_an_image_is_read_by_layers_of_its_own(tmp_path: Path) -> None:
    x, image = keras.Input((None, 3)), keras.Input((6, 6, 2))
    z = layers.LSTM(4)(layers.Reshape((16, 3))(layers.Conv2D(3, 3)(image)))
    beside = ops.zeros_like(x[:, :, :1]) + ops.expand_dims(z, 1)
    model = keras.Model([x, image], layers.LSTM(3)(layers.Concatenate()([x, beside])))
    generator = np.random.default_rng(2)
    values = generator.standard_normal((STEPS, 3)).astype("float32")
    check_every_step(model, tmp_path / "a.tflite", values, generator.standard_normal((6, 6, 2)).astype("float32"))
