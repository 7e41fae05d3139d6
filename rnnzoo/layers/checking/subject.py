"""The layer under examination: example inputs, its weights, and copies of it under other settings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from rnnzoo.layers.checking.errors import LayerCheckError
from rnnzoo.layers.refusals import not_finite
from streaming._compat import layers_of


def is_cell(layer: Any) -> bool:
    """Whether an object has the interface of a Keras cell."""
    return hasattr(layer, "state_size") and not isinstance(layer, keras.layers.RNN) and "states" in arguments(layer)


def arguments(layer: Any) -> list[str]:
    """The names that `call` takes."""
    return list(inspect.signature(layer.call).parameters)


class Subject:
    """A layer with example inputs; a cell is examined inside of `keras.layers.RNN`.

    given: what the user gave; layer: what is run on sequences; cell: the cell in it, or None;
    inputs: arrays (B, T, ...) in the structure that the layer takes.
    """

    def __init__(self, given: Any, inputs: Any, seed: int):
        self.given, self.inputs, self.seed = given, inputs, seed
        self.name = type(given).__name__
        self.layer = keras.layers.RNN(given, return_sequences=True) if is_cell(given) else given
        cell = getattr(self.layer, "cell", None)
        self.cell = cell if cell is not None and is_cell(cell) else None
        self.classes = {type(part).__name__: type(part) for part in layers_of(self.layer)}
        fresh = not given.built
        self.run(self.layer)
        if fresh:
            self._draw_weights()
        self._refuse_nan()
        self.weights = [ops.convert_to_numpy(w) for w in self.layer.weights]

    def _draw_weights(self) -> None:
        """Starts again from the seed, and adds noise to all weights: zeros and ones would hide mistakes."""
        # Initializers take their seeds when they are made.
        keras.utils.set_random_seed(self.seed)
        self.layer.set_weights(self._remade().get_weights())
        generator = np.random.default_rng(self.seed)
        for weight in self.layer.trainable_variables:
            value = ops.convert_to_numpy(weight)
            value = value + generator.normal(scale=0.1, size=value.shape).astype(value.dtype)
            weight.assign(value if weight.constraint is None else weight.constraint(ops.convert_to_tensor(value)))

    def _refuse_nan(self) -> None:
        spoilt = not_finite(self.layer)
        if spoilt is not None:
            raise LayerCheckError(self.name, "weights", f"{spoilt}; train it again")

    @property
    def single(self) -> bool:
        """Whether the input is one tensor."""
        return not keras.tree.is_nested(self.inputs)

    @property
    def steps(self) -> int:
        """T of the example."""
        return keras.tree.flatten(self.inputs)[0].shape[1]

    def named(self, values: list[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Values of the weights by name; by the path below the layer where two weights have one name."""
        names = [weight.name for weight in self.layer.weights]
        keys = [
            weight.path.split(f"{self.given.name}/", 1)[-1] if names.count(weight.name) > 1 else weight.name
            for weight in self.layer.weights
        ]
        return dict(zip(keys, values, strict=True))

    def fails(self, prop: str, finding: str) -> LayerCheckError:
        """The error to raise."""
        return LayerCheckError(self.name, prop, finding)

    def run(self, layer: Any, inputs: Any = None, **kwargs: Any) -> list[NDArray[Any]]:
        """Outputs in flat order, at inference."""
        outputs = self.call(layer, self.tensors(self.inputs if inputs is None else inputs), **kwargs)
        return [ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]

    def call(self, layer: Any, x: Any, **kwargs: Any) -> Any:
        """The layer's outputs at inference, as they are."""
        if keras.backend.backend() != "jax" or not layer.built:
            return layer(x, training=False, **kwargs)
        import jax

        def function(*flat: Any) -> Any:
            x, kwargs = keras.tree.pack_sequence_as(given, flat)
            with keras.StatelessScope():
                return layer(x, training=False, **kwargs)

        # Operation by operation JAX would compile each of them for each new shape.
        given = (x, kwargs)
        return jax.jit(function)(*keras.tree.flatten(given))

    def tensors(self, inputs: Any) -> Any:
        """Inputs for a call of the layer."""
        return keras.tree.map_structure(ops.convert_to_tensor, inputs)

    def takes(self, argument: str) -> bool:
        """Whether `call` of the layer has an argument of that name."""
        return argument in arguments(self.layer)

    def copy(self, dtype: str | None = None, **changes: Any) -> Any:
        """A new layer from its config, with the same weights."""
        layer = self._remade(dtype, changes)
        layer.set_weights(self.weights)
        return layer

    def _remade(self, dtype: str | None = None, changes: Mapping[str, Any] | None = None) -> Any:
        config = self.layer.get_config()
        config.update({name: value for name, value in (changes or {}).items() if name in config})
        with self.scope():
            layer = type(self.layer).from_config(config if dtype is None else _with_dtype(config, dtype))
        inputs = keras.tree.map_structure(widen, self.inputs) if dtype == "float64" else self.inputs
        # Symbols are enough to build it.
        layer(keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype.name), inputs), training=False)
        return layer

    def whole(self) -> Any:
        """A copy that returns the whole sequence and its last states, where the layer has that choice."""
        return self.copy(return_sequences=True, return_state=True)

    def scope(self) -> Any:
        """Context in which classes that are not registered are found as well."""
        return keras.saving.custom_object_scope(self.classes)

    def model(self) -> keras.Model:
        """A functional model of this layer alone, over any number of steps."""
        flat = [
            keras.Input((None, *x.shape[2:]), dtype=x.dtype.name, name=f"x{i}")
            for i, x in enumerate(keras.tree.flatten(self.inputs))
        ]
        return keras.Model(flat, self.layer(keras.tree.pack_sequence_as(self.inputs, flat)))


def initial_states(cell: Any, batch: int) -> list[Any]:
    """The states that a cell starts from: its own, or zeros, as `keras.layers.RNN` has it."""
    if hasattr(cell, "get_initial_state"):
        states = cell.get_initial_state(batch_size=batch)
        return list(states) if isinstance(states, list | tuple) else [states]
    return [ops.zeros((batch, size), cell.compute_dtype) for size in keras.tree.flatten(cell.state_size)]


def widen(x: NDArray[Any]) -> NDArray[Any]:
    """Floats as float64, integers as they are."""
    return x.astype("float64") if np.issubdtype(x.dtype, np.floating) else x


def _with_dtype(config: Any, dtype: str) -> Any:
    """The config with every dtype policy in it replaced, those of nested layers too."""
    if isinstance(config, Mapping):
        return {
            key: dtype if key == "dtype" and _is_policy(value) else _with_dtype(value, dtype)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(_with_dtype(item, dtype) for item in config)
    return config


def _is_policy(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, Mapping) and value.get("class_name") == "DTypePolicy")


def difference(expected: Any, got: Any) -> float:
    """Largest difference, relative to the largest expected value (at least 1); infinite where shapes differ."""
    expected, got = np.asarray(expected, "float64"), np.asarray(got, "float64")
    if expected.shape != got.shape:
        return float("inf")
    if not expected.size:
        return 0.0
    error = float(np.max(np.abs(expected - got))) / max(1.0, float(np.max(np.abs(expected))))
    return float("inf") if np.isnan(error) else error
