"""Layers of rnnzoo inside SavedModels, as `model.export` and `tf.saved_model.save` write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnzoo.layers
from rnnzoo.layers.recurrent import tensorflow_loop

SWAPPED = ("LSTM", "GRU", "SimpleRNN", "LayerNormLSTM")
OTHERS = ("MinGRU", "LRU")


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops of two steps an iteration: smaller graphs, saved in less time."""
    monkeypatch.setattr(tensorflow_loop, "BLOCK", 2)


def model_of(names: tuple[str, ...]) -> Any:
    """A branch for each layer; the first begins with a mask."""
    x = keras.Input((None, 4))
    first = keras.layers.Masking()(x)
    branches = [
        getattr(rnnzoo.layers, name)(4, return_sequences=True)(x if place else first)
        for place, name in enumerate(names)
    ]
    return keras.Model(x, keras.layers.Concatenate()(branches))


def rows() -> tf.Tensor:
    found = np.random.default_rng(0).normal(size=(2, 13, 4)).astype("float32")
    found[1, 9:] = 0
    return tf.constant(found)


@pytest.mark.slow
def test_layers_are_saved(tmp_path: Path) -> None:
    model, x = model_of(SWAPPED), rows()
    tf.saved_model.save(model, tmp_path / "saved")
    again = tf.saved_model.load(tmp_path / "saved")
    (found,) = again.signatures["serving_default"](x).values()
    np.testing.assert_allclose(found, model(x), atol=1e-5)


@pytest.mark.parametrize("names", [pytest.param(SWAPPED, marks=pytest.mark.slow), OTHERS])
def test_layers_are_exported_with_their_gradients(tmp_path: Path, names: tuple[str, ...]) -> None:
    model, x = model_of(names), rows()
    model.export(tmp_path / "exported", verbose=False)
    again = tf.saved_model.load(tmp_path / "exported")
    found = []
    for run in (model, again.serve):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = run(x)
            loss = tf.reduce_sum(y * tf.cos(y))
        found.append((y, tape.gradient(loss, x)))
    for mine, kept in zip(*found, strict=True):
        np.testing.assert_allclose(kept, mine, atol=1e-5)
