"""Gradients of a scalar by automatic differentiation, in the form that each backend of Keras has for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

Arrays = list[NDArray[Any]]


def gradients(layer: Any, inputs: Any, scalar: Callable[[Any], Any]) -> tuple[Arrays, Arrays]:
    """Gradients of scalar(layer(inputs)) by the trainable weights, and by the floating inputs (in flat order).

    The gradient of a value that does not affect the result is zero.
    """
    values = [ops.convert_to_tensor(x) for x in keras.tree.flatten(inputs)]
    floating = [i for i, x in enumerate(values) if "float" in keras.backend.standardize_dtype(x.dtype)]

    def pack(sources: list[Any]) -> Any:
        placed = list(values)
        for index, source in zip(floating, sources, strict=True):
            placed[index] = source
        return keras.tree.pack_sequence_as(inputs, placed)

    find = {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}[keras.backend.backend()]
    by_weight, by_input = find(layer, [values[i] for i in floating], pack, scalar)
    weights = [v.value for v in layer.trainable_variables]
    return _arrays(by_weight, weights), _arrays(by_input, [values[i] for i in floating])


def _arrays(derivatives: Any, like: Any) -> Arrays:
    return [
        np.zeros(tuple(value.shape)) if gradient is None else ops.convert_to_numpy(gradient)
        for gradient, value in zip(derivatives, like, strict=True)
    ]


def _tensorflow(layer: Any, sources: list[Any], pack: Any, scalar: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(sources)
        result = scalar(layer(pack(sources), training=False))
    weights = [v.value for v in layer.trainable_variables]
    # A lookup's gradient comes as slices.
    derivatives = [None if g is None else tf.convert_to_tensor(g) for g in tape.gradient(result, [*weights, *sources])]
    return derivatives[: len(weights)], derivatives[len(weights) :]


def _torch(layer: Any, sources: list[Any], pack: Any, scalar: Any) -> tuple[Any, Any]:
    import torch

    leaves = [source.detach().clone().requires_grad_() for source in sources]
    result = scalar(layer(pack(leaves), training=False))
    weights = [v.value for v in layer.trainable_variables]
    derivatives = torch.autograd.grad(result, [*weights, *leaves], allow_unused=True)
    return derivatives[: len(weights)], derivatives[len(weights) :]


def _jax(layer: Any, sources: list[Any], pack: Any, scalar: Any) -> tuple[Any, Any]:
    import jax

    others = [v.value for v in layer.non_trainable_variables]
    # A stateless call hands on what it is given, to a layer that may not know it.
    kwargs = {"training": False} if layer._call_has_training_arg else {}

    def function(weights: list[Any], leaves: list[Any]) -> Any:
        return scalar(layer.stateless_call(weights, others, pack(leaves), **kwargs)[0])

    gradient = jax.jit(jax.grad(function, argnums=(0, 1)))
    return gradient([v.value for v in layer.trainable_variables], sources)
