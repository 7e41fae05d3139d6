"""Limits of small tensors of whole numbers: shapes, places and counters that are computed while a model runs.

Values that do not depend on the inputs of the model are computed as in the runtime, and have equal limits; the counter
of a loop lies between its limits. A tensor whose limits are unknown has none, and operations that need them are
refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.runtime.operations.call import INT32, INT64, Bounds, Call

_MAX_ELEMENTS = 64
_RANGE = {INT32: 2**31, INT64: 2**62}


def follow(call: Call) -> None:
    """Note the limits of the outputs of an operation, where they follow from those of its inputs."""
    rule = _RULES.get(call.name)
    if rule is None or len(call.operation.outputs) != 1:
        return
    index = call.operation.outputs[0]
    kind, shape = call.graph.tensors[index].kind, call.shapes[index]
    if kind not in _RANGE or math.prod(shape) > _MAX_ELEMENTS:
        return
    bounds = rule(call)
    if bounds is None:
        return
    low, high = (np.asarray(part, np.int64).reshape(-1) for part in bounds)
    most = _RANGE[kind]
    if low.size == math.prod(shape) and bool((low >= -most).all() and (high < most).all()):
        call.bounds[index] = low, high


def _all(call: Call) -> list[Bounds] | None:
    limits = [call.limits(place) for place in range(len(call.inputs))]
    return None if any(part is None for part in limits) else [part for part in limits if part is not None]


def _shape(call: Call) -> Bounds:
    values = np.array(call.shape(0), np.int64)
    return values, values


def _rank(call: Call) -> Bounds:
    values = np.array([len(call.shape(0))], np.int64)
    return values, values


def _same(call: Call) -> Bounds | None:
    return call.limits(0)


def _moved(call: Call) -> Bounds | None:
    """The elements in another order or place: by the operation itself on their numbers."""
    parts = _all(call)
    if parts is None:
        return None
    low, high = (
        _MOVES[call.name](call, [part[side].reshape(call.shape(place)) for place, part in enumerate(parts)])
        for side in range(2)
    )
    return low, high


def _cut(call: Call, arrays: list[NDArray[Any]]) -> NDArray[Any]:
    begin, size = (array.reshape(-1).tolist() for array in arrays[1:])
    return arrays[0][tuple(slice(b, None if s == -1 else b + s) for b, s in zip(begin, size, strict=True))]


def _strided(call: Call, arrays: list[NDArray[Any]]) -> NDArray[Any]:
    masks = [call.option(field) for field in range(5)]
    places: list[Any] = []
    for place, (begin, end, step) in enumerate(zip(*(array.reshape(-1).tolist() for array in arrays[1:]), strict=True)):
        begin_all, end_all, ellipsis, new, shrink = (mask >> place & 1 for mask in masks)
        cut = slice(None if begin_all else begin, None if end_all else end, step)
        places.append(Ellipsis if ellipsis else None if new else (0 if begin_all else begin) if shrink else cut)
    return arrays[0][tuple(places)]


def _gathered(call: Call, arrays: list[NDArray[Any]]) -> NDArray[Any]:
    if call.option(1):
        return np.zeros(0)
    return np.take(arrays[0], arrays[1].astype(np.int64), call.option(0), mode="clip")


_MOVES: dict[str, Callable[[Call, list[NDArray[Any]]], NDArray[Any]]] = {
    "PACK": lambda call, arrays: np.stack(arrays, call.option(1)),
    "CONCATENATION": lambda call, arrays: np.concatenate(arrays, call.option(0)),
    "STRIDED_SLICE": _strided,
    "SLICE": _cut,
    "GATHER": _gathered,
}


def _monotone(function: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]) -> Callable[[Call], Bounds | None]:
    """A function of two operands that is greatest and least where they are."""

    def rule(call: Call) -> Bounds | None:
        parts = _all(call)
        if parts is None:
            return None
        (a, b), (c, d) = ([side.reshape(call.shape(place)) for side in part] for place, part in enumerate(parts))
        if max((np.abs(side).max(initial=0) for side in (a, b, c, d)), default=0) >= 2**31:
            return None
        corners = [np.asarray(function(x, y)) for x in (a, b) for y in (c, d)]
        return np.minimum.reduce(corners), np.maximum.reduce(corners)

    return rule


def _divided(function: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]) -> Callable[[Call], Bounds | None]:
    both = _monotone(function)

    def rule(call: Call) -> Bounds | None:
        divisor = call.limits(1)
        return both(call) if divisor is not None and bool((divisor[0] > 0).all()) else None

    return rule


def _remainder(call: Call) -> Bounds | None:
    divisor = call.limits(1)
    if divisor is None or not bool((divisor[0] > 0).all()):
        return None
    number = call.limits(0)
    if number is not None and np.array_equal(*number) and np.array_equal(*divisor):
        values = np.mod(number[0].reshape(call.shape(0)), divisor[0].reshape(call.shape(1)))
        return values, values
    shape = call.shapes[call.operation.outputs[0]]
    return np.zeros(shape, np.int64), np.broadcast_to(divisor[1].reshape(call.shape(1)) - 1, shape)


def _product(call: Call) -> Bounds | None:
    limits = call.limits(0)
    axes = call.limits(1)
    if limits is None or axes is None or not np.array_equal(*limits):
        return None
    values = limits[0].reshape(call.shape(0)).astype(object)
    product = np.multiply.reduce(values, tuple(axes[0].tolist())) if axes[0].size else values
    flat = np.array(product, object).reshape(-1)
    return None if any(abs(number) >= 2**31 for number in flat) else (flat.astype(np.int64),) * 2


def _filled(call: Call) -> Bounds | None:
    limits = call.limits(1)
    if limits is None:
        return None
    shape = call.shapes[call.operation.outputs[0]]
    return np.broadcast_to(limits[0], shape), np.broadcast_to(limits[1], shape)


def _counted(call: Call) -> Bounds | None:
    values = np.arange(*(call.known(place, 1)[0] for place in range(3)))
    return values, values


def _cast(call: Call) -> Bounds | None:
    return call.limits(0) if call.kind(0) in _RANGE else None


def _chosen(call: Call) -> Bounds | None:
    a, b = call.limits(1), call.limits(2)
    if a is None or b is None:
        return None
    shape, (x, y) = call.shapes[call.operation.outputs[0]], (call.shape(1), call.shape(2))
    sides = [
        (np.broadcast_to(p.reshape(x), shape), np.broadcast_to(q.reshape(y), shape)) for p, q in zip(a, b, strict=True)
    ]
    return np.minimum(*sides[0]), np.maximum(*sides[1])


_RULES: dict[str, Callable[[Call], Bounds | None]] = {
    "SHAPE": _shape,
    "RANK": _rank,
    "RESHAPE": _same,
    "SQUEEZE": _same,
    "EXPAND_DIMS": _same,
    "CAST": _cast,
    "PACK": _moved,
    "CONCATENATION": _moved,
    "STRIDED_SLICE": _moved,
    "SLICE": _moved,
    "GATHER": _moved,
    "ADD": _monotone(np.add),
    "SUB": _monotone(np.subtract),
    "MUL": _monotone(np.multiply),
    "MAXIMUM": _monotone(np.maximum),
    "MINIMUM": _monotone(np.minimum),
    "FLOOR_DIV": _divided(np.floor_divide),
    "FLOOR_MOD": _remainder,
    "REDUCE_PROD": _product,
    "FILL": _filled,
    "RANGE": _counted,
    "SELECT": _chosen,
    "SELECT_V2": _chosen,
}
