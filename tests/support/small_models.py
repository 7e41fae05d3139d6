"""Small Keras models, with weights that no layer begins with."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


def sequence(features: int = 6, **options: Any) -> keras.KerasTensor:
    return keras.Input((None, features), **options)


def model_of(build: Any, features: int = 6) -> keras.Model:
    x = sequence(features)
    return keras.Model(x, build(x))


def randomize(model: keras.Model, seed: int = 0) -> keras.Model:
    """Biases and moving averages away from zero and one, so that nothing is tested on a neutral value."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" in weight.path or not keras.backend.is_float_dtype(weight.dtype):
            continue
        noise = generator.normal(0, 0.3, weight.shape)
        value = np.abs(noise) + 0.5 if "variance" in weight.path else noise
        weight.assign(value.astype("float32"))
    return model


class Decay(keras.layers.Layer):
    """A user's own cell: h = a h + x, with an initial state that is not zero."""

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = self.state_size = self.output_size = units

    def build(self, shape: Any) -> None:
        self.rate = self.add_weight(shape=(self.units,), name="rate", initializer="uniform")

    def get_initial_state(self, batch_size: Any = None) -> Any:
        return ops.ones((batch_size, self.units)) * 0.5

    def call(self, x: Any, states: Any) -> Any:
        h = self.rate * states[0] + x
        return ops.tanh(h), [h]
