"""Keras's functions in forms that TFLite's builtin operations have, with the same results.

Inside `builtin_forms`, whatever layer calls them: convolutions and poolings of channels before time or space compute
with channels last, as TFLite's do; sums add as broadcasting says, where Keras 3.15 takes an operand that has one axis
larger than 1 for a bias, whichever axis that is.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras.src import backend

_SPATIAL = ("conv", "depthwise_conv", "separable_conv", "conv_transpose", "max_pool", "average_pool")


@contextlib.contextmanager
def builtin_forms() -> Iterator[None]:
    """Context in which Keras's backend computes by TFLite's builtin operations."""
    changes: list[tuple[Any, str, Any]] = [(backend.numpy, "add", _add)]
    changes += [(backend.nn, name, _channels_last(getattr(backend.nn, name))) for name in _SPATIAL]
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    try:
        for module, name, value in changes:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def _add(x1: Any, x2: Any) -> tf.Tensor:
    dtype = keras.backend.result_type(*(getattr(x, "dtype", type(x)) for x in (x1, x2)))
    return tf.add(*(keras.ops.cast(keras.ops.convert_to_tensor(x), dtype) for x in (x1, x2)))


def _channels_last(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)

    def compute(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        if bound.arguments.get("data_format") != "channels_first":
            return function(*args, **kwargs)
        inputs = bound.arguments["inputs"]
        rank = len(inputs.shape)
        bound.arguments["inputs"] = tf.transpose(inputs, [0, *range(2, rank), 1])
        bound.arguments["data_format"] = "channels_last"
        output = function(*bound.args, **bound.kwargs)
        return tf.transpose(output, [0, rank - 1, *range(1, rank - 1)])

    return compute
