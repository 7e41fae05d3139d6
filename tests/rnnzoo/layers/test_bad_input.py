"""Bad input of every registered layer: one clear line, whoever calls the layer and however."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from layer_cases import Case, all_cases
from layer_cases.sequence import OnBoth

import rnnzoo.layers

# Options of any layer that count something.
SIZES = {
    *("units", "projection", "state_units", "window", "heads", "expansion", "char_size", "filters"),
    *("input_dim", "output_dim", "vocabulary", "samples", "frame_length", "frame_step", "fft_length", "num_mels"),
}


def test_every_layer_is_here() -> None:
    public = [getattr(rnnzoo.layers, name) for name in rnnzoo.layers.__all__]
    layers = {kind.__name__ for kind in public if isinstance(kind, type) and issubclass(kind, keras.layers.Layer)}
    assert layers == set(CASES) | {"AttentionCell"}  # which AttentionDecoder runs


def first_cases() -> dict[str, Case]:
    """The first case of each class, by the name of the class that it is about."""
    found: dict[str, Case] = {}
    for case in all_cases().values():
        found.setdefault(type(inner(case.make())).__name__, case)
    return found


def inner(layer: Any) -> Any:
    return layer.layer if isinstance(layer, OnBoth) else layer


def is_cell(layer: Any) -> bool:
    return "states" in arguments(layer)


def arguments(layer: Any) -> list[str]:
    return list(layer._call_signature.parameters)


CASES = first_cases()
LAYERS = [name for name, case in CASES.items() if not is_cell(inner(case.make()))]
CELLS = sorted(set(CASES) - set(LAYERS))
MASKED = [name for name in LAYERS if any("mask" in a for a in arguments(inner(CASES[name].make())))]
STATEFUL = [name for name in LAYERS if "initial_state" in arguments(inner(CASES[name].make()))]


def made(name: str) -> tuple[Any, list[np.ndarray]]:
    """A layer, and example inputs."""
    case = CASES[name]
    given = case.settings.get("inputs")
    if given is None:
        shape = case.settings.get("input_shape", (3, 7, 5))
        given = np.random.default_rng(0).standard_normal(shape).astype("float32")
    return inner(case.make()), given if isinstance(given, list) else [given]


class Outer(keras.layers.Layer):
    """A layer around a layer, as in a user's model."""

    def __init__(self, layer: Any, kwargs: dict[str, Any]):
        super().__init__()
        self.layer, self.kwargs = layer, kwargs

    def build(self, shapes: Any) -> None:
        pass

    def call(self, inputs: list[Any]) -> Any:
        return self.layer(*inputs, **self.kwargs)


def graph(layer: Any, inputs: list[Any], kwargs: dict[str, Any]) -> Any:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda *x: layer(*x, **kwargs), autograph=False)(*inputs)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(lambda *x: layer(*x, **kwargs))(*inputs)
    return layer(*inputs, **kwargs)


def symbolic(layer: Any, inputs: list[Any], kwargs: dict[str, Any]) -> Any:
    def symbol(x: Any) -> Any:
        return keras.KerasTensor(x.shape, keras.backend.standardize_dtype(x.dtype))

    return layer(*map(symbol, inputs), **keras.tree.map_structure(symbol, kwargs))


WAYS = {
    "eager": lambda layer, inputs, kwargs: layer(*inputs, **kwargs),
    "inside": lambda layer, inputs, kwargs: Outer(layer, kwargs)(inputs),
    "graph": graph,
    "symbolic": symbolic,
}


def refuses(said: str, layer: Any, inputs: list[Any], **kwargs: Any) -> None:
    """Whether all ways to call the layer end in one line with the class's name, what was expected and what came."""
    inputs, kwargs = keras.tree.map_structure(ops.convert_to_tensor, (inputs, kwargs))
    for way, call in WAYS.items():
        with pytest.raises(ValueError, match="expected") as error:
            call(layer, inputs, kwargs)
        one_line(error, said, f"{type(layer).__name__} {way}")


def one_line(error: Any, said: str, about: str) -> None:
    message = str(error.value)
    assert "\n" not in message, about
    assert ": expected" in message, (about, message)
    assert said in message.rpartition("Received: ")[2], (about, message)


def constructor(name: str) -> tuple[type, dict[str, Any]]:
    layer = inner(CASES[name].make())
    nested = {
        key: keras.saving.deserialize_keras_object(value)
        if isinstance(value, dict) and "class_name" in value
        else value
        for key, value in layer.get_config().items()
    }
    return type(layer), nested


@pytest.mark.parametrize("name", CASES)
def test_sizes_and_options(name: str) -> None:
    kind, config = constructor(name)
    for size in SIZES & set(config):
        for wrong in (0, -1, 2.5, True, "4", float("nan")):
            with pytest.raises(ValueError, match="expected") as error:
                kind(**{**config, size: wrong})
            one_line(error, repr(wrong), f"{name}({size}={wrong!r})")
    with pytest.raises((ValueError, TypeError), match="no_such_option") as error:
        kind(**config, no_such_option=1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", LAYERS)
def test_a_sequence_of_no_steps(name: str) -> None:
    layer, inputs = made(name)
    for place in range(len(inputs)):
        empty = [x[:, :0] if i == place else x for i, x in enumerate(inputs)]
        refuses(str(empty[place].shape), layer, empty)
    flat = [inputs[0][0, ..., 0] if "Embedding" in name else inputs[0][:, 0], *inputs[1:]]
    refuses(str(flat[0].shape), layer, flat)


@pytest.mark.parametrize("name", MASKED)
def test_masks(name: str) -> None:
    layer, inputs = made(name)
    masks = [a for a in arguments(layer) if a.endswith("mask")]
    for mask, x in zip(masks, inputs, strict=True):
        right = np.ones(x.shape[:2], bool)
        refuses("float32", layer, inputs, **{mask: right.astype("float32")})
        refuses("int32", layer, inputs, **{mask: right.astype("int32")})
        for wrong in (right[:, 1:], right[1:], right[..., None], right[0]):
            refuses(str(wrong.shape), layer, inputs, **{mask: wrong})
        layer(*inputs, **{mask: ops.convert_to_tensor(right)})


@pytest.mark.parametrize("name", STATEFUL)
def test_initial_states(name: str) -> None:
    layer, inputs = made(name)
    batch = len(inputs[0])
    cells = [layer.forward_layer.cell, layer.backward_layer.cell] if name == "Bidirectional" else [layer.cell]
    sizes = keras.tree.flatten([cell.state_size for cell in cells])
    right = [np.zeros((batch, size), "float32") for size in sizes]
    for wrong in ([*right[:-1], right[-1][:, 1:]], [*right[:-1], right[-1][1:]], [*right, right[0]]):
        refuses(", ".join(str(state.shape) for state in wrong), layer, inputs, initial_state=wrong)
    layer(*inputs, initial_state=[ops.convert_to_tensor(state) for state in right])


@pytest.mark.parametrize("name", CELLS)
def test_states_of_a_cell(name: str) -> None:
    cell, inputs = made(name)
    x, states = ops.convert_to_tensor(inputs[0][:, 0]), cell.get_initial_state(batch_size=3)
    for wrong in ([*states, states[0]], [ops.ones((3, 9)), *states[1:]]):
        with pytest.raises(ValueError, match="expected") as error:
            Outer(cell, {"states": wrong})([x])
        one_line(error, str(tuple(wrong[0].shape)), name)
    cell(x, states)


def test_states_of_an_attention_cell() -> None:
    layer, (x, memory) = made("AttentionDecoder")
    layer(x, memory)
    for size in ((3, 5), (3,)):
        with pytest.raises(ValueError, match="expected") as error:
            layer.cell(x[:, 0], [np.zeros(size)], layer.cell.attention.keys(memory), memory)
        one_line(error, str(size), "AttentionCell")


def test_what_a_model_says_in_training_and_under_a_mask() -> None:
    """The line comes through `fit`, and a mask that a layer before hands on is examined too."""
    inputs = keras.Input((None, 3))
    model = keras.Sequential([inputs, rnnzoo.layers.Bidirectional(rnnzoo.layers.LSTM(4)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    with pytest.raises(ValueError, match=r"(LSTM|Bidirectional): expected") as error:
        model.fit(np.zeros((2, 0, 3)), np.zeros((2, 1)), verbose=0)
    one_line(error, "0, 3)", "fit")

    class Lengths(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x

        def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
            return ops.ones_like(inputs[:, :, 0])

    with pytest.raises(ValueError, match="GRU: expected a boolean mask") as error:
        rnnzoo.layers.GRU(4)(Lengths()(np.zeros((2, 5, 3), "float32")))
    one_line(error, "float32", "mask")


@pytest.mark.parametrize("name", [*CELLS, *STATEFUL])
def test_nan_in_any_weight(name: str) -> None:
    layer, inputs = made(name)
    layer = rnnzoo.layers.RNN(layer, name="rnn") if name in CELLS else layer
    values = [ops.convert_to_tensor(x) for x in inputs]
    layer(*values)
    for weight in layer.trainable_variables:
        good = ops.convert_to_numpy(weight)
        bad = good.copy()
        bad[(0,) * bad.ndim] = np.nan
        weight.assign(bad)
        with pytest.raises(ValueError, match="expected") as error:
            Outer(layer, {})(values)
        one_line(error, f"{weight.path} has 1 values that are NaN", name)
        assert layer(*values, training=True).shape
        weight.assign(good)
    spoilt = [ops.convert_to_tensor(np.full_like(x, np.nan)) for x in inputs]
    assert np.isnan(ops.convert_to_numpy(layer(*spoilt))).any()
