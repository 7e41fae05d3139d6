"""Another shape for the same values: features split or joined, streams and steps folded into one axis and back."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from keras import layers

from streaming._compat import numpy_operations
from streaming.conversion.layouts import Layout, standard, to_canonical, to_offline
from streaming.conversion.rules import register_rule
from streaming.conversion.rules.base import Env, Rule
from streaming.conversion.signals import Signal
from streaming.conversion.values import Chunk, Static

Factor = str | int  # "B", "T", or so many features


class Reshaping(Rule):
    """Finds the axes of the result as groups of the factors of the input axes, in their order.

    (B, T, 8) to (B, T, 2, 4) splits features; (B * T, 8) gives the steps to the next layers as a batch, as if they were
    streams; (B * N, T, F) does so with N sequences of each stream.
    """

    any_layout = True

    def plan(self) -> Signal:
        signal = self.call.signals[0]
        leading, targets = self.targets()
        factors = _factors(signal)
        groups = _match([factor for axis in factors[leading:] for factor in axis], targets)
        if groups is None or any("T" in group and any(isinstance(part, int) for part in group) for group in groups):
            self.refuse(
                f"reshapes {signal.offline_shape} to {tuple(self.call.results[0].shape)}, so that steps are mixed",
                "reshape to (-1, ...) with as many values as a step has",
            )
        self._layout, features = _arranged([*factors[:leading], *groups])
        rank = len(features) + (2 if signal.sequence else 1)
        layout = None if self._layout == standard(rank) else self._layout
        self._result = Signal(
            self.call.name, features, signal.dtype, signal.timeline, running=signal.running, layout=layout
        )
        return self._result

    def targets(self) -> tuple[int, list[int | None]]:
        """Number of leading axes that stay as they are, and the sizes of the others; None and -1 are unknown."""
        raise NotImplementedError

    def step(self, env: Env, inputs: Chunk | Static, *args: Any, **kwargs: Any) -> Chunk | Static:
        signal, result = self.call.signals[0], self._result
        shape: Any = result.shape
        if isinstance(inputs, Static):
            value = to_offline(inputs.value, signal.layout)
            return Static(to_canonical(value, self._layout, (env.batch, *shape)))
        if signal.layout is None and result.layout is None:
            flat = inputs.flat
            return inputs.like(flat=tf.reshape(flat, (flat.shape[0], *shape)))
        if signal.sequence:
            value, sizes = to_offline(inputs.full, signal.layout), (env.batch, inputs.steps, *shape)
            return inputs.like(full=to_canonical(value, self._layout, sizes))
        value, sizes = to_offline(inputs.flat, signal.layout), (inputs.flat.shape[0], *shape)
        return inputs.like(flat=to_canonical(value, self._layout, sizes))


@register_rule(layers.Reshape, layers.Flatten)
class ReshapeRule(Reshaping):
    """The layers leave the first axis alone."""

    def targets(self) -> tuple[int, list[int | None]]:
        shape = getattr(self.call.op, "target_shape", None)
        if shape is None:
            return 1, [-1]
        return 1, list(shape)


@register_rule(numpy_operations.Reshape)
class ReshapeOperation(Reshaping):
    """Sizes that a custom layer read from a tensor are unknown in the graph, and follow from the known ones."""

    def targets(self) -> tuple[int, list[int | None]]:
        shape = self.call.op.newshape
        return 0, [shape] if isinstance(shape, int) else list(shape)


def _factors(signal: Signal) -> list[list[Factor]]:
    """Size of each axis of the offline tensor."""
    names: list[Factor] = ["B", "T"] if signal.sequence else ["B"]
    canonical = [*names, *(int(size or 1) for size in signal.shape)]
    return [[canonical[axis] for axis in group] for group in signal.layout or standard(len(canonical))]


def _match(factors: list[Factor], targets: list[int | None]) -> list[list[Factor]] | None:
    """Factors, in their order, for each size; None where they do not fit."""
    left: list[Factor] = []
    for factor in factors:
        if isinstance(factor, int) and left and isinstance(left[-1], int):
            left[-1] *= factor
        elif factor != 1:
            left.append(factor)
    unknown = [index for index, size in enumerate(targets) if size is None or size < 0]
    first, last = (unknown[0], unknown[-1] + 1) if unknown else (len(targets), len(targets))
    before = _take(left, targets[:first])
    after = None if before is None else _take(left, targets[last:], from_end=True)
    if before is None or after is None:
        return None
    middle = _middle(left, targets[first:last])
    return None if middle is None else [*before, *middle, *after]


def _take(left: list[Factor], sizes: list[int | None], from_end: bool = False) -> list[list[Factor]] | None:
    """Take factors for known sizes off one end of those that are left, splitting features where a size asks for it."""
    groups = []
    for size in reversed(sizes) if from_end else sizes:
        group: list[Factor] = []
        rest = size or 0
        while rest > 1:
            factor = left[-1 if from_end else 0] if left else "none"
            if isinstance(factor, str):
                return None
            part = math.gcd(factor, rest)
            if part not in (factor, rest):
                return None
            left.pop(-1 if from_end else 0)
            if part < factor:
                left.insert(len(left) if from_end else 0, factor // part)
            group.insert(0 if from_end else len(group), part)
            rest //= part
        if rest != 1:
            return None
        groups.append(group or [1])
    return groups[::-1] if from_end else groups


def _middle(left: list[Factor], targets: list[int | None]) -> list[list[Factor]] | None:
    """Sizes that are left, from the first to the last unknown one."""
    if not targets:
        return None if left else []
    if len(targets) == 1:
        return [left or [1]]
    if len(targets) == 2 and len(left) >= 2:
        # A size that was read off a tensor is that of the batch or the time; -1 stands for all the rest.
        alone = len(left) - 1 if targets[1] is None and isinstance(left[-1], str) else 1
        if isinstance(left[0 if alone == 1 else -1], str):
            return [left[:alone], left[alone:]]
    if len(targets) == len(left) and all(isinstance(factor, str) for factor in left):
        return [[factor] for factor in left]
    return None


def _arranged(groups: list[list[Factor]]) -> tuple[Layout, tuple[int, ...]]:
    """The layout of axes of these factors, and the features in it; features that are neighbours are one."""
    leading = sum(isinstance(factor, str) for group in groups for factor in group)
    features: list[int] = []
    layout = []
    for group in groups:
        axes: list[int] = []
        for factor in group:
            if isinstance(factor, str):
                axes.append("BT".index(factor))
            elif axes and axes[-1] == leading + len(features) - 1 and features:
                features[-1] *= factor
            else:
                axes.append(leading + len(features))
                features.append(factor)
        layout.append(tuple(axes))
    return tuple(layout), tuple(features)
