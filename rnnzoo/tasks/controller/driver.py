"""A Keras policy as the controller of simulated arms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.rows import RowEncoder
from rnnzoo.data.problems.arm import TORQUES, Simulation

if TYPE_CHECKING:
    import keras


class Driver:
    """Drives N arms, step by step; it has a copy of the model's weights.

    Args:
        model: of a controller.
        encoder: of its rows.
        count: N.
    """

    def __init__(self, model: keras.Model, encoder: RowEncoder, count: int):
        from rnnzoo.tasks.carried import carried_twin

        self._twin, self._encoder = carried_twin(model, count), encoder
        self._step = _compiled(self._twin)

    def begin(self, weights: list[NDArray[Any]]) -> None:
        """Take other weights, and forget what was seen."""
        from rnnzoo.tasks.carried import reset_states

        self._twin.set_weights(weights)
        reset_states(self._twin)

    def __call__(self, simulation: Simulation) -> NDArray[Any]:
        """Torques (N, 2) in N m for what the arms observe now."""
        rows = self._encoder.encode(simulation.observe())["rows"]
        mean, scale = torque_units(self._encoder)
        return np.asarray(self._step({"rows": rows[:, None]}), np.float64)[:, 0] * scale + mean


def torque_units(encoder: RowEncoder) -> NDArray[Any]:
    """Means and scales of the torques in N m, (2, 2)."""
    return np.array([encoder.mean, encoder.scale])[:, -len(TORQUES) :]


def _compiled(model: keras.Model) -> Any:
    """`model.predict_on_batch`, which on TensorFlow takes twenty times as long as the step that it makes."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch
    import tensorflow as tf

    return tf.function(lambda inputs: model(inputs, training=False))
