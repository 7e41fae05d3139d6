"""Restores the unknown numbers of sequences and steps in a graph that was recorded with fixed ones.

A `call` that computes with sizes (`ops.shape(x)[0] * 4`) is recorded with two pairs of numbers that occur nowhere else.
A constant that differs between the two graphs depends on the number of sequences or steps, and is made unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from streaming._compat import Functional, nodes_of
from streaming.conversion.positions import recognized, settle

_PRIMES = (53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163)
_FEW = (5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47)
_SHAPES = ("newshape", "shape")


class Unlike(Exception):
    """Error: two recordings differ in more than sizes."""


class Sized:
    """A constant that is repeated along an axis of sequences or steps; value: of size 1 there.

    axes: "B" or "T" by axis.
    """

    def __init__(self, value: NDArray[Any], axes: dict[int, str]) -> None:
        self.value, self.axes = value, axes

    def of(self, batch: int, steps: int) -> tf.Tensor:
        """The constant for so many sequences and steps."""
        tiles = [{"B": batch, "T": steps}.get(self.axes.get(axis, ""), 1) for axis in range(self.value.ndim)]
        return tf.tile(tf.constant(self.value), tiles)


def draw_sizes(op: keras.Layer, arguments: Any) -> list[list[tuple[int, int]]]:
    """Two pairs (sequences, steps) for each attempt, in order; no size of the layer is a multiple of any of them.

    A layer with a table of positions takes no more steps than the table has rows.
    """
    known = {size for weight in op.weights for size in weight.shape}
    rows = sorted(known, reverse=True)
    known |= {size for item in keras.tree.flatten(arguments) for size in getattr(item, "shape", ())}
    free = [prime for prime in _PRIMES if not any(size and size % prime == 0 for size in known)]
    batches = free[0], free[1]
    pairs = [(free[2], free[4])]
    for most in rows:
        fitting = [
            prime for prime in (*_FEW, *free[2:]) if prime <= most and not any(s and s % prime == 0 for s in known)
        ]
        pairs += [(fitting[-2], fitting[-1])] if len(fitting) > 1 else []
    return [list(zip(batches, steps, strict=True)) for steps in dict.fromkeys(pairs)]


def forget_sizes(
    op: keras.Layer, record: Callable[[tuple[int, int]], Functional], sizes: list[tuple[int, int]]
) -> Functional:
    """The first of two recordings with unknown sizes where they differ; raises Unlike where that is not all.

    record: records the `call` of the layer for so many sequences and steps.
    """
    first, second = (record(pair) for pair in sizes)
    pairs = list(zip(nodes_of(first), nodes_of(second), strict=True))
    for one, other in pairs:
        if type(one.operation) is not type(other.operation):
            raise Unlike("other operations")
        merge = _Merge(sizes)
        one.arguments.args = keras.tree.map_structure(merge, one.arguments.args, other.arguments.args)
        one.arguments.kwargs = keras.tree.map_structure(merge, one.arguments.kwargs, other.arguments.kwargs)
        for name in _SHAPES:
            mine, theirs = (vars(node.operation).get(name) for node in (one, other))
            if isinstance(mine, list | tuple) and not isinstance(one.operation, keras.Layer):
                setattr(one.operation, name, _merged_shape(mine, theirs))
    settle([one for one, _ in pairs], op, lambda steps: list(nodes_of(record((sizes[0][0], steps)))))
    for one, other in pairs:
        for mine, theirs in zip(one.outputs, other.outputs, strict=True):
            mine._shape = _merged_shape(mine.shape, theirs.shape)
    return first


def _merged_shape(mine: Any, theirs: Any) -> tuple[Any, ...]:
    if len(mine) != len(theirs):
        raise Unlike("other ranks")
    return tuple(a if a == b else None for a, b in zip(mine, theirs, strict=True))


def _first(value: NDArray[Any], other: NDArray[Any], sizes: list[tuple[int, int]]) -> NDArray[Any]:
    """A constant with size 1 along the sequences, of which all have the same."""
    batches = {batch for batch, _ in sizes}
    for axis, (size, beside) in enumerate(zip(value.shape, other.shape, strict=True)):
        if {size, beside} == batches and np.array_equal(value, np.broadcast_to(value.take([0], axis), value.shape)):
            value = value.take([0], axis)
    return value


class _Merge:
    """Joins an argument of the first recording with that of the second."""

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        self.sizes = sizes

    def __call__(self, mine: Any, theirs: Any) -> Any:
        if isinstance(mine, keras.KerasTensor | keras.Variable):
            return mine
        if isinstance(mine, slice):
            return slice(*(self._bound(getattr(mine, n), getattr(theirs, n)) for n in ("start", "stop", "step")))
        if hasattr(mine, "shape"):
            return self._constant(np.asarray(mine), np.asarray(theirs))
        if mine != theirs:
            raise Unlike("other arguments")
        return mine

    def _bound(self, mine: Any, theirs: Any) -> Any:
        """A bound of a slice, counted from the end where it moves with the size."""
        if mine == theirs:
            return mine
        for of_mine, of_theirs in zip(*self.sizes, strict=True):
            if mine - of_mine == theirs - of_theirs <= 0:
                return mine - of_mine or None
        raise Unlike("other bounds")

    def _constant(self, mine: NDArray[Any], theirs: NDArray[Any]) -> Any:
        if mine.ndim != theirs.ndim:
            raise Unlike("other ranks")
        sized = recognized(
            _first(mine, theirs, self.sizes), _first(theirs, mine, self.sizes), [s[1] for s in self.sizes]
        )
        if sized is not None:
            return sized
        axes = {}
        for axis, pair in enumerate(zip(mine.shape, theirs.shape, strict=True)):
            if pair[0] != pair[1]:
                kinds = [kind for kind, drawn in zip("BT", zip(*self.sizes, strict=True), strict=True) if drawn == pair]
                mine, rest = np.split(mine, [1], axis)
                theirs = theirs.take([0], axis)
                if not kinds or not np.array_equal(np.broadcast_to(mine, rest.shape), rest):
                    raise Unlike("constants along time")
                axes[axis] = kinds[0]
        if not np.array_equal(mine, theirs):
            raise Unlike("other constants")
        return Sized(mine, axes) if axes else mine
