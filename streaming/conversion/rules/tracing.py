"""Finds by trial where an operation that only rearranges a tensor moves one of its axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from streaming.conversion.rules.base import Call
from streaming.conversion.signals import Signal


def of_one(call: Call) -> Callable[[tf.Tensor], Any]:
    """The operation of a call as a function of its one tensor."""

    def function(x: tf.Tensor) -> Any:
        args, kwargs = keras.tree.map_structure(
            lambda item: x if isinstance(item, Signal) else item, (call.args, call.kwargs)
        )
        return call.op(*args, **kwargs)

    return function


def destination(function: Callable[[tf.Tensor], Any], shape: Sequence[int], axis: int, dtype: str) -> int | None:
    """The axis of the result to which an axis of the input moves; the shape of the input has the batch first.

    None if that is not a single axis after the batch, or if the function does not take the shape.
    """
    size, batch = shape[axis], shape[0]

    def marks(rank: int, place: int) -> NDArray[Any]:
        steps = np.arange(size).reshape([size if i == place else 1 for i in range(rank)])
        return steps + size * np.arange(batch).reshape(batch, *[1] * (rank - 1))

    try:
        output = np.asarray(function(tf.constant(np.broadcast_to(marks(len(shape), axis), shape), dtype)))
    except Exception:  # a size that was written for another length
        return None
    if not output.ndim or output.shape[0] != batch:
        return None
    for place in range(1, output.ndim):
        if output.shape[place] == size and np.array_equal(
            output, np.broadcast_to(marks(output.ndim, place), output.shape)
        ):
            return place
    return None
