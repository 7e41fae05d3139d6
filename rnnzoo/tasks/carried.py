"""Models whose recurrent layers carry their state from batch to batch."""

from __future__ import annotations

from typing import Any

import keras


def carried_twin(model: keras.Model, batch_size: int) -> keras.Model:
    """A copy of a functional model whose recurrent layers are stateful; weights are copied and have the same paths.

    Args:
        model: inputs (B, T, ...).
        batch_size: B of every batch of the copy; row b of a batch continues row b of the batch before.

    Returns:
        The copy. `reset_states` sets its states to zero.
    """
    inputs = {
        tensor.name: keras.Input(batch_shape=(batch_size, *tensor.shape[1:]), dtype=tensor.dtype, name=tensor.name)
        for tensor in model.inputs
    }
    twin = keras.models.clone_model(model, input_tensors=inputs, clone_function=_stateful)
    twin.set_weights(model.get_weights())
    if keras.backend.backend() == "jax":
        _let_step_update(twin)
    return twin


def states(model: keras.Model) -> list[keras.Variable]:
    """The variables that carry the state from batch to batch, in the order of the layers."""
    return [variable for layer in _recurrent(model) for variable in keras.tree.flatten(layer.states)]


def reset_states(model: keras.Model) -> None:
    """Set the states of stateful recurrent layers to zero."""
    for layer in _recurrent(model):
        layer.reset_state()


def _let_step_update(model: keras.Model) -> None:
    """A compiled step of JAX updates the variables that the model counts; Keras does not count carried states."""
    for layer in _recurrent(model):
        layer._tracker.unlock()
        for variable in keras.tree.flatten(layer.states):
            layer._track_variable(variable)
        layer._tracker.lock()


def _stateful(layer: keras.layers.Layer) -> keras.layers.Layer:
    config = layer.get_config()
    if "stateful" in config:
        config["stateful"] = True
    return type(layer).from_config(config)


def _recurrent(model: keras.Model) -> list[Any]:
    return [layer for layer in model.layers if getattr(layer, "stateful", False)]
