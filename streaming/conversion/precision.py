"""Models of other dtype policies, computed in float32 with the same weights while they are converted.

TFLite computes in float32, so a model under `mixed_float16`, `mixed_bfloat16`, `float16` or `float64` is streamed as
the same model under `float32`. The stream is compared with that model, and the difference between the two policies is
measured separately.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from streaming._compat import inputs_of, layers_of
from streaming.conversion.graph import drawn_inputs, functional, is_graph, nodes, rebuild
from streaming.runtime.facts import PolicyDifference

OTHER_FLOATS = ("float16", "bfloat16", "float64")


def other_policies(model: Any) -> tuple[str, ...]:
    """Names of the dtype policies of a model that do not compute and store in float32, and such dtypes of inputs."""
    if not isinstance(model, keras.Model):
        return ()
    names = {layer.dtype_policy.name for layer in layers_of(model) if _differs(layer)}
    given = functional(model).inputs if is_graph(model) else []
    return tuple(sorted(names | {_dtype(tensor) for tensor in given if _dtype(tensor) in OTHER_FLOATS}))


def _dtype(tensor: Any) -> str:
    return str(keras.backend.standardize_dtype(tensor.dtype))


def _differs(layer: Any) -> bool:
    policy = layer.dtype_policy
    return policy.compute_dtype in OTHER_FLOATS or policy.variable_dtype in OTHER_FLOATS


@contextlib.contextmanager
def in_float32(model: Any) -> Iterator[tuple[Any, PolicyDifference | None]]:
    """Context in which a model computes in float32: gives the model to convert, and its own policy's difference.

    The user's model is restored at the end. Models that compute in float32 anyway are returned as they are.
    """
    policies = other_policies(model)
    if not policies:
        yield model, None
        return
    inputs = drawn_inputs(functional(model))
    wanted = outputs_on(model, inputs)
    with _float32_layers(model), _float32_globals():
        # The recorded graph names the old dtypes; that of a subclassed model is made anew anyway.
        changed = rebuild(functional(model), {}) if is_graph(model) else model
        got = outputs_on(changed, inputs)
        pairs = list(zip(got, wanted, strict=True))
        error = max(float(np.max(np.abs(a - b), initial=0)) for a, b in pairs)
        yield changed, PolicyDifference(policies, error, max(float(np.max(np.abs(a), initial=0)) for a, _ in pairs))


def outputs_on(model: Any, inputs: list[Any]) -> list[NDArray[Any]]:
    """Outputs of a model for inputs, from its initial states on, in float64."""
    for layer in layers_of(model):
        if getattr(layer, "stateful", False):
            layer.reset_state()
    structure = inputs_of(functional(model)) if is_graph(model) else inputs[0]
    given = keras.tree.pack_sequence_as(structure, inputs)
    outputs = keras.tree.flatten(model(given, training=False))
    return [keras.ops.convert_to_numpy(keras.ops.cast(output, "float32")).astype("float64") for output in outputs]


@contextlib.contextmanager
def _float32_globals() -> Iterator[None]:
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


@contextlib.contextmanager
def _float32_layers(model: Any) -> Iterator[None]:
    """Policies and variables of all layers in float32, and operations that a graph recorded with the old dtypes."""
    layers = [layer for layer in layers_of(model) if _differs(layer)]
    policies = [layer._dtype_policy for layer in layers]
    variables = [v for v in model.variables if _dtype(v) in OTHER_FLOATS]
    # E.g. the mask of a Masking is made of its input as cast to the dtype in which it computes.
    casts = [op for op in _operations(model) if getattr(op, "dtype", None) and _dtype(op) in OTHER_FLOATS]
    dtypes = [op.dtype for op in casts]
    values = [(v._value, v._dtype) for v in variables]
    try:
        for layer in layers:
            layer._dtype_policy = keras.DTypePolicy("float32")
        for variable in variables:
            variable._value = tf.Variable(tf.cast(variable._value, tf.float32), trainable=variable.trainable)
            variable._dtype = "float32"
        for op in casts:
            op.dtype = "float32"
        _finalize(layers)
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer._dtype_policy = policy
        for variable, (value, dtype) in zip(variables, values, strict=True):
            variable._value, variable._dtype = value, dtype
        for op, dtype in zip(casts, dtypes, strict=True):
            op.dtype = dtype
        _finalize(layers)


def _operations(model: Any) -> list[Any]:
    """The `keras.ops` that the graph of a model and those within it call."""
    graphs = [functional(layer) for layer in layers_of(model) if is_graph(layer)]
    ops = [node.operation for graph in graphs for node in nodes(graph)]
    return [op for op in dict.fromkeys(ops) if not isinstance(op, keras.layers.Layer)]


def _finalize(layers: list[Any]) -> None:
    """Let layers with adapted statistics read them in their dtype."""
    for layer in layers:
        if isinstance(layer, keras.layers.Normalization) and layer.built:
            layer.finalize_state()
