"""Attention to a source written out by hand: products with its positions, softmax over them, sums of them.

A source that was given whole has S positions, some of which may not exist in a stream. The values at missing positions
have no effect if every softmax, sum and product over the positions leaves them out, which these rules do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from streaming.conversion.layouts import time_at, to_canonical, to_offline
from streaming.conversion.rules.base import Call, Env, Rule, axes_of
from streaming.conversion.rules.contraction import equation_of, operands_of
from streaming.conversion.rules.separable import Builder
from streaming.conversion.rules.tracing import destination, of_one
from streaming.conversion.signals import Signal
from streaming.conversion.values import Chunk, Static
from streaming.errors import NotStreamableError

_LAYOUTS = set("Transpose Permute Swapaxes Moveaxis ExpandDims Squeeze Reshape Flatten RepeatVector".split())
_REDUCTIONS = {
    "Sum": (tf.reduce_sum, 0.0),
    "Max": (tf.reduce_max, float(tf.float32.min)),
    "Min": (tf.reduce_min, float(tf.float32.max)),
}
_ELEMENTWISE = set(
    "Add Subtract Multiply Divide TrueDivide Maximum Minimum Negative Exp Tanh Relu Sigmoid Activation Dropout Dense "
    "LayerNormalization Identity ReLU LeakyReLU Gelu Silu Square Sqrt Absolute Cast".split()
)
_LOWEST = -1e9


@dataclass(frozen=True)
class Places:
    """The axes of an offline tensor that hold time and the positions of a source, 0 where it has none."""

    time: int
    source: int


def over_source(call: Call, build: Builder) -> list[Signal] | None:
    """The signals of the outputs of a call over the positions of a source, None where another rule takes it."""
    marked = [signal for signal in call.signals if signal.spread or signal.source is not None]
    if not marked or any(signal.terms for signal in call.signals):
        return None
    rule = _OverSource(call, build, marked[0])
    if all(signal.whole for signal in call.signals) and not rule.moves_source():
        return None
    output = rule.signal()
    return None if output is None else [output]


def _places(signal: Signal) -> Places:
    return Places(signal.time_axis if signal.sequence else 0, 1 if signal.spread else signal.source_axis)


class _OverSource:
    def __init__(self, call: Call, build: Builder, first: Signal) -> None:
        self.call, self.build, self.first, self.kind = call, build, first, call.kind
        self.source = first if first.spread else first.source
        self.places = _places(first)
        self.rank = len(_sizes(first))

    def refuse(self) -> NoReturn:
        """Refuse any other operation along the source."""
        raise NotStreamableError(
            f"layer {self.call.name!r} ({self.kind}) works along a source, some of whose positions may not exist; "
            "use Attention, AdditiveAttention or MultiHeadAttention, or softmax and products over them"
        )

    def moves_source(self) -> bool:
        """Whether a call that depends on the source alone moves the axis of its positions."""
        return self.kind in _LAYOUTS and self._destination(self.places.source) not in (1, None)

    def signal(self) -> Signal | None:
        """The output."""
        if (equation := equation_of(self.call)) is not None:
            return self._product(equation)
        if self._softmax_axis() is not None:
            return self._softmax()
        if self.kind in (*_REDUCTIONS, "Mean") and not isinstance(self.call.op, layers.Layer):
            return self._reduction()
        if self.kind in _LAYOUTS and len(self.call.signals) == 1:
            return self._layout()
        if self.kind in _ELEMENTWISE and (len(self.call.signals) > 1 or self.first.source is not None):
            return self._elementwise()
        return self.refuse() if self.first.source is not None else None

    def _axes(self) -> list[int]:
        return [axis % self.rank for axis in axes_of(self.call.op) or range(self.rank)]

    def _product(self, equation: Any) -> Signal:
        left, right = operands_of(self.call)
        pairs = ((left, equation.left), (right, equation.right))
        times = {letters[place] for s, letters in pairs if (place := _places(s).time)}
        sources = {letters[place] for s, letters in pairs if (place := _places(s).source)}
        if len(times) != 1 or len(sources) != 1 or (times | sources) - set(equation.result) > sources:
            self.refuse()
        time, positions = times.pop(), sources.pop()
        result = equation.result
        text = f"{equation.left},{equation.right}->{result}"
        where = equation.left.index(positions) if positions in equation.left else -1
        summed = positions not in result

        def function(x: tf.Tensor, y: tf.Tensor, exists: Any) -> tf.Tensor:
            if summed and exists is not None:
                if where >= 0:
                    x = _kept(x, exists, where, 0.0)
                else:
                    y = _kept(y, exists, equation.right.index(positions), 0.0)
            return tf.einsum(text, x, y)

        places = Places(result.index(time), 0 if summed else result.index(positions))
        return self._made(function, (left, right), places)

    def _softmax_axis(self) -> int | None:
        op = self.call.op
        if isinstance(op, layers.Activation) and getattr(op.activation, "__name__", "") == "softmax":
            return self.rank - 1
        axes = axes_of(op) if self.kind == "Softmax" else None
        return axes[0] % self.rank if axes and len(axes) == 1 else None

    def _softmax(self) -> Signal:
        axis, mask = self._softmax_axis(), self.call.mask
        assert axis is not None
        if axis == self.places.time or mask is not None:
            self.refuse()
        over = axis == self.places.source

        def function(x: tf.Tensor, exists: Any) -> tf.Tensor:
            if not over or exists is None:
                return keras.ops.softmax(x, axis=axis)
            x = _kept(x, exists, axis, _LOWEST)
            weights = tf.exp(x - tf.reduce_max(x, axis, keepdims=True))
            weights = _kept(weights, exists, axis, 0.0)
            return weights / tf.reduce_sum(weights, axis, keepdims=True)

        return self._made(function, (self.first,), self.places, zero=over)

    def _reduction(self) -> Signal:
        axes, keep = self._axes(), bool(self.call.op.keepdims)
        if self.places.time in axes or 0 in axes:
            self.refuse()
        over = self.places.source in axes
        reduce, neutral = _REDUCTIONS.get(self.kind, (tf.reduce_sum, 0.0))

        def function(x: tf.Tensor, exists: Any) -> tf.Tensor:
            count = float(np.prod([x.shape[axis] for axis in axes]))
            value = _kept(x, exists, self.places.source, neutral) if over and exists is not None else x
            total = reduce(value, axes, keepdims=keep)
            if self.kind != "Mean":
                return total
            if not over or exists is None:
                return total / count
            real = tf.reduce_sum(tf.cast(exists, tf.float32), axis=1) * (count / x.shape[self.places.source])
            return total / tf.reshape(real, (-1, *[1] * (len(total.shape) - 1)))

        def moved(axis: int) -> int:
            return axis if keep or not axis else axis - sum(other < axis for other in axes)

        places = Places(moved(self.places.time), 0 if over else moved(self.places.source))
        return self._made(function, (self.first,), places)

    def _layout(self) -> Signal | None:
        source = self._destination(self.places.source)
        time = self._destination(self.places.time) if self.places.time else 0
        if source is None or time is None:
            self.refuse()
        function = of_one(self.call)
        zero = self.first.quiet and self.first.source is not None
        return self._made(lambda x, exists: function(x), (self.first,), Places(time, source), zero)

    def _destination(self, axis: int) -> int | None:
        return destination(of_one(self.call), _sizes(self.first), axis, self.first.dtype)

    def _elementwise(self) -> Signal:
        """Operations that see one element, or the last axis alone."""
        signals, op, last = self.call.signals, self.call.op, self.rank - 1
        places = [_places(signal) for signal in signals]
        time = {place.time for place in places if place.time}
        source = {place.source for place in places if place.source}
        feature = self.kind in ("Dense", "LayerNormalization") and last in (*time, *source)
        if len(time) > 1 or len(source) > 1 or feature or any(len(_sizes(s)) != self.rank for s in signals):
            self.refuse()
        order = {id(signal): index for index, signal in enumerate(signals)}

        def function(*tensors: Any) -> tf.Tensor:
            args, kwargs = keras.tree.map_structure(
                lambda item: tensors[order[id(item)]] if isinstance(item, Signal) else item,
                (self.call.args, self.call.kwargs),
            )
            if self.kind == "Add":
                return tf.add(*operands_of(replace(self.call, args=args, kwargs=kwargs)))
            return op(*args, **kwargs)

        return self._made(function, tuple(signals), Places(next(iter(time), 0), next(iter(source), 0)))

    def _made(
        self, function: Callable[..., tf.Tensor], args: tuple[Signal, ...], places: Places, zero: bool = False
    ) -> Signal:
        """The signal of a function of tensors and of which positions exist; zero: it is zero where they do not."""
        output = function(*(tf.zeros(_sizes(signal), signal.dtype) for signal in args), None)
        shape = list(output.shape)
        del shape[places.time if places.time else 0]
        if places.time:
            del shape[0]
        line = next((signal.timeline for signal in args if signal.timeline is not None), None)
        result = Signal(
            self.call.name,
            tuple(shape),
            output.dtype.name,
            line,
            layout=time_at(places.time, len(shape) + 2) if places.time else None,
            source=self.source if places.source else None,
            source_axis=places.source,
            quiet=zero,
            weights=zero and places == Places(1, 2) and len(shape) == 1,
        )
        assert self.source is not None
        inputs = (*args, self.source)
        return self.build.add(SourceRule(replace(self.call, args=inputs, kwargs={}), function, result), inputs)


class SourceRule(Rule):
    """A function of tensors in their offline layout, and of the mask of the positions of a source."""

    def __init__(self, call: Call, function: Callable[..., tf.Tensor], result: Signal) -> None:
        super().__init__(call)
        self.function, self.made = function, result

    def plan(self) -> Signal:
        return self.made

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Any:
        *inputs, source = args
        steps = next((item.steps for item in inputs if isinstance(item, Chunk)), 1)
        tensors = []
        for item, signal in zip(inputs, self.call.args, strict=False):
            chunk = isinstance(item, Chunk)
            tensors.append(to_offline(item.full, signal.layout) if chunk else item.value)
        output = self.function(*tensors, source.exists)
        if self.made.timeline is None:
            return Static(output)
        sizes: tuple[Any, ...] = (env.batch, steps, *self.made.shape)
        return Chunk(env.batch, steps, full=to_canonical(output, self.made.layout, sizes))


def _sizes(signal: Signal) -> list[int]:
    """An offline shape for a trial: two streams of three steps."""
    shape: list[Any] = list(signal.offline_shape)
    shape[0] = 2
    if signal.sequence:
        shape[signal.time_axis] = 3
    return shape


def _kept(value: tf.Tensor, exists: tf.Tensor, axis: int, other: float) -> tf.Tensor:
    """The value, with another number at positions that do not exist; they lie along an axis."""
    shape = [
        exists.shape[0] if index == 0 else exists.shape[1] if index == axis else 1 for index in range(len(value.shape))
    ]
    return tf.where(tf.reshape(exists, shape), value, tf.fill(value.shape, other))
