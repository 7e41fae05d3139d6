"""Models changed by `model.quantize`: converts them to float32 models with the dequantized weights.

A model under "int8", "int4", "float8" or "gptq" is streamed as the float32 model with its rounded weights. Its
quantized layers also round their inputs, which the stream does not; the difference is measured.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from streaming._compat import layers_of
from streaming.conversion.graph import drawn_inputs, functional, is_graph
from streaming.conversion.precision import outputs_on
from streaming.errors import NotStreamableError
from streaming.runtime.facts import PolicyDifference

# Largest difference from the quantized model, relative to its largest output, that rounding of inputs explains.
TOLERANCE = 0.2
_REMEDY = "convert the model as it was before model.quantize, with quantize='dynamic'"


def dequantized(model: Any) -> tuple[Any, PolicyDifference | None]:
    """The model in float32, and the error of the quantized one; other models are returned as they are.

    Raises:
        NotStreamableError: a quantized layer is of another kind than Dense, EinsumDense and Embedding, the model is
            subclassed, or rounding alone does not explain the difference.
    """
    if not isinstance(model, keras.Model):
        return model, None
    layers = [layer for layer in layers_of(model) if _mode(layer) is not None]
    if not layers:
        return model, None
    if not is_graph(model):
        raise NotStreamableError(
            f"layer {layers[0].name!r} of a subclassed model is quantized by Keras ({_mode(layers[0])}); {_REMEDY}"
        )
    plain = keras.models.clone_model(model, clone_function=_plain_clone)
    pairs = list(zip(layers_of(model, include_self=False), layers_of(plain, include_self=False), strict=True))
    for old, new in pairs:
        _copy(old, new)
    return plain, _difference(model, plain, layers)


def _mode(layer: Any) -> str | None:
    return getattr(layer, "quantization_mode", None)


def _plain_clone(layer: Any) -> Any:
    return type(layer).from_config(_plain(layer.get_config()))


def _plain(config: Any) -> Any:
    """A configuration in which quantized dtype policies are the ones that they were made of."""
    if isinstance(config, Mapping):
        inner = config.get("config")
        if (
            str(config.get("class_name")).endswith("DTypePolicy")
            and isinstance(inner, Mapping)
            and "source_name" in inner
        ):
            return inner["source_name"]
        return {key: _plain(value) for key, value in config.items() if key != "quantization_config"}
    return [_plain(item) for item in config] if isinstance(config, list) else config


def _copy(old: Any, new: Any) -> None:
    """The weights of a layer, but for those of layers in it."""
    if type(old) is not type(new):
        raise NotStreamableError(f"layer {old.name!r} ({type(old).__name__}) cannot be made in float32; {_REMEDY}")
    if _mode(old) is None:
        for source, target in zip(_own(old), _own(new), strict=True):
            target.assign(source)
        return
    if type(old) is keras.layers.Embedding:
        new.embeddings.assign(old(keras.ops.arange(new.input_dim)))
    elif type(old) is keras.layers.Dense:
        new.kernel.assign(_probed(old, np.eye(new.kernel.shape[0])))
    elif type(old) is keras.layers.EinsumDense:
        new.kernel.assign(_einsum_kernel(old, new.kernel.shape))
    else:
        raise NotStreamableError(
            f"layer {old.name!r} ({type(old).__name__}) is quantized by Keras ({_mode(old)}), of which only Dense, "
            f"EinsumDense and Embedding have known weights; {_REMEDY}"
        )
    if getattr(new, "bias", None) is not None:
        new.bias.assign(old.bias)


def _own(layer: Any) -> list[Any]:
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _probed(layer: Any, rows: NDArray[Any]) -> NDArray[Any]:
    """Output of a layer for rows, without its bias and activation. Rows of one 1 are rounded by no quantizer."""
    rows = rows.astype("float32")
    with _linear(layer):
        return keras.ops.convert_to_numpy(layer(rows)) - keras.ops.convert_to_numpy(layer(np.zeros_like(rows)))


@contextlib.contextmanager
def _linear(layer: Any) -> Iterator[None]:
    activation = layer.activation
    layer.activation = None
    try:
        yield
    finally:
        layer.activation = activation


def _einsum_kernel(layer: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """The kernel of an equation such as `abc,cde->abde`: one output for each place of the axes that are summed."""
    taken, given = layer.equation.replace("...", "Z").split("->")
    taken, kernel = taken.split(",")
    sizes = dict(zip(kernel, shape, strict=True))
    summed = [label for label in taken if label in sizes]
    free = [label for label in taken if label not in sizes]
    if not free or any(label in given for label in summed):
        raise NotStreamableError(
            f"layer {layer.name!r} (EinsumDense) is quantized by Keras and has the equation {layer.equation}, whose "
            f"weights cannot be read off; {_REMEDY}"
        )
    count = math.prod(sizes[label] for label in summed)
    basis = np.eye(count).reshape(count, *(sizes[label] for label in summed))
    # The axes of the basis, then axes of one, in the order of the input.
    order = [free[0], *summed, *free[1:]]
    rows = basis.reshape(*basis.shape, *[1] * (len(free) - 1)).transpose([order.index(label) for label in taken])
    weights = _probed(layer, rows)
    labels = [label for label in given if label == free[0] or label in sizes]
    weights = weights.reshape([count if label == free[0] else sizes[label] for label in labels])
    weights = np.moveaxis(weights, labels.index(free[0]), 0)
    rest = [label for label in labels if label != free[0]]
    weights = weights.reshape([*(sizes[label] for label in summed), *(sizes[label] for label in rest)])
    return weights.transpose([[*summed, *rest].index(label) for label in kernel])


def _difference(model: Any, plain: Any, layers: list[Any]) -> PolicyDifference:
    inputs = drawn_inputs(functional(plain))
    got, wanted = outputs_on(plain, inputs), outputs_on(model, inputs)
    error = max(float(np.max(np.abs(a - b), initial=0)) for a, b in zip(got, wanted, strict=True))
    scale = max(float(np.max(np.abs(a), initial=0)) for a in wanted)
    if not error <= TOLERANCE * max(scale, 1e-3):
        raise NotStreamableError(
            f"layer {layers[0].name!r} and {len(layers) - 1} others are quantized by Keras ({_mode(layers[0])}), and "
            f"the model with their weights in float32 differs by {error:.3g} of values up to {scale:.3g}; {_REMEDY}"
        )
    policies = tuple(sorted({layer.dtype_policy.name for layer in layers}))
    return PolicyDifference(policies, error, scale)
