"""Finds the origin of a loss that is not finite."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.tasks.carried import states


class Origin:
    """Repeats the steps before a loss that is not finite, from a state in which everything was finite.

    Args:
        model: compiled, with all variables as they were before the first of the batches.
    """

    def __init__(self, model: keras.Model):
        self._model = model

    def find(self, batches: Any) -> str | None:
        """The first value that is not finite, such as "the gradient of layer 'recurrent_0'", and its batch number.

        Args:
            batches: (inputs, targets, weights), as they were trained on.

        Returns:
            None where all is finite.
        """
        for number, (inputs, targets, weights) in enumerate(batches):
            before = [tf.identity(v.value) for v in self._kept()]
            self._model.reset_metrics()
            loss = self._model.train_on_batch(inputs, targets, weights, return_dict=True)["loss"]
            if np.isfinite(loss) and all(np.isfinite(v.numpy()).all() for v in self._model.trainable_variables):
                continue
            for variable, value in zip(self._kept(), before, strict=True):
                variable.assign(value)
            place = first_not_finite(self._model, inputs, targets, weights)
            return f"{place}, at step {number + 1} after the last snapshot" if place else None
        return None

    def _kept(self) -> list[Any]:
        return [*self._model.variables, *states(self._model)]


def first_not_finite(model: keras.Model, inputs: Any, targets: Any, weights: Any) -> str | None:
    """The first of weights, inputs, activations (front to back), loss, gradients (back to front) that is not finite.

    Args:
        model: compiled.
        inputs, targets, weights: one batch.

    Returns:
        Its name in words; None where all are finite.
    """
    for variable in model.variables:
        if not _finite(variable.value):
            return f"the weight {variable.path!r}"
    for name, array in inputs.items():
        if not _finite(array):
            return f"the input {name!r}"
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    looked = keras.Model(
        {t.name: t for t in model.inputs}, {"all": [layer.output for layer in layers], "output": model.output}
    )
    with tf.GradientTape() as tape:
        activations = looked(tf.nest.map_structure(tf.convert_to_tensor, inputs), training=True)
        for layer, output in zip(layers, activations["all"], strict=True):
            if not all(_finite(one) for one in tf.nest.flatten(output)):
                return f"the output of layer {layer.name!r}"
        loss = model.compute_loss(
            x=inputs, y=targets, y_pred=activations["output"], sample_weight=weights, training=True
        )
    if not _finite(loss):
        return "the loss itself, of finite outputs"
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in reversed(list(zip(model.trainable_variables, gradients, strict=True))):
        if gradient is not None and not _finite(tf.convert_to_tensor(gradient)):
            return f"the gradient of {variable.path!r}"
    return None


def _finite(value: Any) -> bool:
    array = np.asarray(value)
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
