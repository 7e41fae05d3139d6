"""Layouts: the axes of batch and time in a tensor of the offline model that is not (B, T, ...).

A layout lists, for each axis of the offline tensor, the canonical axes that are joined in it, in their order. The
canonical axes are B, T and the features of a sequence, or B and the features of a value without time. So
`((2,), (0,), (1,), (3,))` is (N, B, T, F) of the canonical (B, T, N, F), and `((0, 1), (2,))` is (B * T, F).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

Layout = tuple[tuple[int, ...], ...]


def standard(rank: int) -> Layout:
    """The layout in which the offline tensor is the canonical one."""
    return tuple((axis,) for axis in range(rank))


def time_at(axis: int, rank: int) -> Layout | None:
    """The layout of (B, ..., T, ...) with time at an axis and the features around it in order; None: axis 1."""
    order = [0, *range(2, rank)]
    order.insert(axis, 1)
    return None if axis == 1 else tuple((place,) for place in order)


def to_offline(value: Any, layout: Layout | None) -> Any:
    """A canonical tensor as the offline model has it."""
    if layout is None:
        return value
    order = [axis for group in layout for axis in group]
    shape = tuple(value.shape)
    if order != list(range(len(shape))):
        value = tf.transpose(value, order)
    return tf.reshape(value, [math.prod(shape[axis] for axis in group) for group in layout])


def to_canonical(value: Any, layout: Layout | None, sizes: Sequence[int]) -> Any:
    """A tensor of the offline model as the canonical one, whose sizes are given."""
    if layout is None:
        return value
    order = [axis for group in layout for axis in group]
    value = tf.reshape(value, [sizes[axis] for axis in order])
    if order == sorted(order):
        return value
    return tf.transpose(value, [order.index(axis) for axis in range(len(order))])


def candidates(
    shape: Sequence[int], one_stream: Sequence[int], one_step: Sequence[int] | None, batch: int, steps: int
) -> Iterator[tuple[Layout, tuple[int, ...]]]:
    """Every layout that sizes allow, with the sizes of the features.

    Args:
        shape: of a result for `batch` streams of `steps` steps; one_stream: for one stream; one_step: for one step,
            None for a value without time.
    """
    axes: list[list[Any]] = []
    for place, size in enumerate(shape):
        parts: list[Any] = []
        rest = size
        for name, other, count in (("B", one_stream, batch), ("T", one_step, steps)):
            if other is not None and other[place] != size:
                if other[place] * count != size or rest % count:
                    return
                parts.append(name)
                rest //= count
        if rest != 1 or not parts:
            parts.append(rest)
        axes.append(parts)
    names = [part for parts in axes for part in parts if isinstance(part, str)]
    if sorted(names) != (["B"] if one_step is None else ["B", "T"]):
        return
    leading = len(names)
    for choice in itertools.product(*(itertools.permutations(parts) for parts in axes)):
        features: list[int] = []
        layout: list[tuple[int, ...]] = []
        for members in choice:
            group = []
            for part in members:
                if isinstance(part, str):
                    group.append("BT".index(part))
                else:
                    group.append(leading + len(features))
                    features.append(part)
            layout.append(tuple(group))
        yield tuple(layout), tuple(features)
