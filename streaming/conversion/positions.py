"""Constants that depend on the number of steps: position embeddings, and causal masks built by hand.

A `call` with `ops.arange(ops.shape(x)[1])` is recorded for two numbers of steps. A constant whose rows are the
same in both, but for their number, is a table of which each step reads its row; one that lets step i see the steps up
to i is a causal mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

# Rows of a table that has no end, as of sines of the position.
MAX_ROWS = 2048


class AlongTime:
    """A constant with a row for each step; axis: that of time; rows (L, ...): all known rows."""

    def __init__(self, value: NDArray[Any], axis: int) -> None:
        self.axis = axis
        self.rows = np.moveaxis(value, axis, 0)

    def fill(self, value: Any) -> None:
        """Take the rows of a longer recording."""
        self.rows = np.moveaxis(np.asarray(value), self.axis, 0)

    def beside(self, rank: int) -> NDArray[Any] | None:
        """The rows, broadcast to tensors (B, T, ...) of that rank; None where they are along another axis."""
        value = np.moveaxis(self.rows, 0, self.axis)
        if value.ndim == rank and self.axis == 1 and np.array_equal(value, np.broadcast_to(value[:1], value.shape)):
            return value[0]
        return value if value.ndim == rank - 1 and self.axis == 0 else None


class Causal:
    """A mask (T, T), or with axes of size 1 before it, that lets each step see itself and those before."""


def recognized(mine: NDArray[Any], theirs: NDArray[Any], steps: Sequence[int]) -> AlongTime | Causal | None:
    """The kind of a constant that was recorded for two lengths; None if it is neither a table nor a causal mask."""
    axes = [axis for axis, sizes in enumerate(zip(mine.shape, theirs.shape, strict=True)) if sizes == tuple(steps)]
    if len(axes) == 1 and np.allclose(mine, theirs.take(range(steps[0]), axes[0]), 1e-5, 1e-6):
        return AlongTime(mine, axes[0])
    if len(axes) == 2 and axes[1] == mine.ndim - 1 and mine.size == steps[0] ** 2:
        squares = [value.reshape(size, size) for value, size in zip((mine, theirs), steps, strict=True)]
        if all(np.array_equal(square.astype(bool), np.tri(len(square), dtype=bool)) for square in squares):
            return Causal()
    return None


def settle(nodes: list[Any], op: Any, record: Callable[[int], list[Any]]) -> None:
    """Fill the tables of a recording, and replace causal masks by the argument `use_causal_mask` of attention.

    Args:
        nodes: of the recording; op: the layer whose call it is; record: the nodes of a recording of so many steps.
    """
    tables = [item for node in nodes for item in _flat(node) if isinstance(item, AlongTime)]
    if tables:
        longer = _longest(op, record)
        for node, other in zip(nodes, longer, strict=True):
            for item, value in zip(_flat(node), _flat(other), strict=True):
                if isinstance(item, AlongTime):
                    item.fill(value)
    for node in nodes:
        kwargs = node.arguments.kwargs
        if isinstance(node.operation, layers.MultiHeadAttention) and isinstance(kwargs.get("attention_mask"), Causal):
            node.arguments.kwargs = {**kwargs, "attention_mask": None, "use_causal_mask": True}


def _flat(node: Any) -> list[Any]:
    return keras.tree.flatten((node.arguments.args, node.arguments.kwargs))


def _longest(op: Any, record: Callable[[int], list[Any]]) -> list[Any]:
    """The recording of most steps: a table of weights ends with its rows."""
    sizes = sorted({int(size) for weight in op.weights for size in weight.shape}, reverse=True)
    failure: Exception | None = None
    for steps in (MAX_ROWS, *(size for size in sizes if size < MAX_ROWS)):
        try:
            return record(steps)
        except Exception as error:  # of whatever kind: the call does not take so many steps
            failure = error
    assert failure is not None
    raise failure
