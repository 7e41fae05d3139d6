"""Running values: after each step, a reduction over all steps so far, each with the states and the update it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from streaming.conversion.layouts import to_canonical, to_offline
from streaming.conversion.rules.base import Call, Env, Rule, expand_to, hold_states
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.values import Chunk, Static

LOWEST = float(tf.float32.min)
# Steps of a chunk from which on they run in a loop, so that the graph does not grow with the chunk.
_MAX_UNROLLED = 64

Rows = list[tf.Tensor]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Accumulator:
    """Accumulator of a running value: its states, and how a step changes them.

    states: (shapes of the rows, dtype of the first) -> the states by name; update: (states, rows (B, ...)) -> (value,
    new states).
    """

    states: Callable[[list[Shape], str], dict[str, StateSpec]]
    update: Callable[[Rows, Rows], tuple[tf.Tensor, Rows]]


def _single(function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], initial: Callable[[str], Any]) -> Accumulator:
    """A reduction whose only state is its value."""

    def update(states: Rows, rows: Rows) -> tuple[tf.Tensor, Rows]:
        value = function(states[0], rows[0])
        return value, [value]

    return Accumulator(lambda shapes, dtype: {"value": StateSpec(shapes[0], dtype, initial(dtype))}, update)


def _limit(dtype: str, sign: int) -> Any:
    if not dtype.startswith("int"):
        return sign * -LOWEST
    return np.iinfo(dtype).max if sign > 0 else np.iinfo(dtype).min


def _count_states(shapes: list[Shape], *names: str) -> dict[str, StateSpec]:
    return {**{name: StateSpec(shapes[0]) for name in names}, "count": StateSpec((1,))}


def _mean(states: Rows, rows: Rows) -> tuple[tf.Tensor, Rows]:
    (mean, count), (row,) = states, rows
    count = count + 1.0
    # Stable over any length: the mean moves by its difference, no sum ever grows.
    mean = mean + (row - mean) / expand_to(count[:, 0], row)
    return mean, [mean, count]


def _variance(states: Rows, rows: Rows) -> tuple[tf.Tensor, Rows]:
    """Welford's update by rows that are means over features, with the variance over these features.

    Welford 1962, Note on a method for calculating corrected sums of squares and products.
    """
    (mean, total, count), (row, inner) = states, rows
    count = count + 1.0
    change = row - mean
    mean = mean + change / expand_to(count[:, 0], row)
    total = total + inner + change * (row - mean)
    return total / expand_to(count[:, 0], row), [mean, total, count]


def _rescaled(states: Rows, rows: Rows) -> Rows:
    """[peak, sum of exp(logits - peak) * values]: the sum is rescaled when the peak rises, so that nothing overflows.

    Milakov, Gimelshein 2018, Online normalizer calculation for softmax.
    """
    (peak, total), (logits, value) = states, rows
    highest = tf.maximum(peak, logits)
    return [highest, total * tf.exp(peak - highest) + tf.exp(logits - highest) * value]


def _weighted(states: Rows, rows: Rows) -> tuple[tf.Tensor, Rows]:
    new = _rescaled(states, rows)
    return new[1], new


def _log_sum_exp(states: Rows, rows: Rows) -> tuple[tf.Tensor, Rows]:
    new = _rescaled(states, [rows[0], tf.ones_like(rows[0])])
    return new[0] + tf.math.log(new[1]), new


def _peak_states(shapes: list[Shape], dtype: str) -> dict[str, StateSpec]:
    total = np.broadcast_shapes(*shapes)
    return {"peak": StateSpec(shapes[0], initial=LOWEST), "total": StateSpec(total)}


def _arg(better: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], sign: int) -> Accumulator:
    """The position of the first of the largest (or smallest) rows."""

    def update(states: Rows, rows: Rows) -> tuple[tf.Tensor, Rows]:
        (best, place, position), (row,) = states, rows
        wins = better(row, best)
        place = tf.where(wins, tf.broadcast_to(expand_to(position[:, 0], row), row.shape), place)
        return place, [tf.where(wins, row, best), place, position + 1]

    def states(shapes: list[Shape], dtype: str) -> dict[str, StateSpec]:
        best = StateSpec(shapes[0], dtype, _limit(dtype, sign))
        return {"best": best, "place": StateSpec(shapes[0], "int32"), "position": StateSpec((1,), "int32")}

    return Accumulator(states, update)


def _first(states: Rows, rows: Rows) -> tuple[tf.Tensor, Rows]:
    (value, begun), (row,) = states, rows
    value = tf.where(expand_to(begun[:, 0] > 0.5, row), value, row)
    return value, [value, tf.ones_like(begun)]


ACCUMULATORS: dict[str, Accumulator] = {
    "sum": _single(tf.add, lambda dtype: 0),
    "prod": _single(tf.multiply, lambda dtype: 1),
    "max": _single(tf.maximum, lambda dtype: _limit(dtype, -1)),
    "min": _single(tf.minimum, lambda dtype: _limit(dtype, 1)),
    "mean": Accumulator(lambda shapes, dtype: _count_states(shapes, "mean"), _mean),
    "variance": Accumulator(lambda shapes, dtype: _count_states(shapes, "mean", "total"), _variance),
    "weighted": Accumulator(_peak_states, _weighted),
    "logsumexp": Accumulator(lambda shapes, dtype: _peak_states(shapes[:1], dtype), _log_sum_exp),
    "argmax": _arg(tf.greater, -1),
    "argmin": _arg(tf.less, 1),
    "first": Accumulator(
        lambda shapes, dtype: {"value": StateSpec(shapes[0], dtype), "begun": StateSpec((1,))}, _first
    ),
}


class Running(Rule):
    """One accumulator over rows of equal rank; its value has the axis of time with size 1.

    sequence: the value of every step is an element of a sequence, as of a cumulative sum, instead.
    """

    def __init__(self, call: Call, kind: str, dtype: str | None = None, sequence: bool = False) -> None:
        super().__init__(call)
        self.kind, self.accumulator, self.as_sequence = kind, ACCUMULATORS[kind], sequence
        self.dtype = dtype

    def plan(self) -> Signal:
        signals = self.call.signals
        shapes: list[Shape] = [signal.shape for signal in signals]  # type: ignore[misc]
        line, axis = signals[0].timeline, signals[0].time_axis
        assert line is not None
        self.states = self.accumulator.states(shapes, signals[0].dtype)
        if line.first > 0:
            self.valid_of.append(line)
        shape = np.broadcast_shapes(*shapes)
        dtype = self.dtype or signals[0].dtype
        if self.as_sequence:
            return replace(signals[0], name=self.call.name, dtype=dtype, quiet=False, origin=None)
        kept = (*shape[: axis - 1], 1, *shape[axis - 1 :])
        return Signal(self.call.name, kept, dtype, line, running=True)

    def step(self, env: Env, *inputs: Chunk, **kwargs: Any) -> Chunk:
        valid = env.valid(self.valid_of[0]) if self.valid_of else None
        states = [env.read(self.key(name)) for name in self.states]

        def one(index: int | tf.Tensor, states: Rows) -> tuple[tf.Tensor, Rows]:
            rows = [item.at(index) for item in inputs]
            value, new = self.accumulator.update(states, rows)
            if valid is not None:
                here = tf.gather(valid, index, axis=1)
                new = hold_states(here, new, states)
            return value, new

        full, states = roll(one, inputs[0].steps, states)
        for name, state in zip(self.states, states, strict=True):
            env.write(self.key(name), state)
        if self.dtype is not None:
            full = tf.cast(full, self.dtype)
        if self.as_sequence:
            return inputs[0].like(full=full)
        shape = (env.batch * inputs[0].steps, *self.plan_shape)
        return inputs[0].like(flat=tf.reshape(full, shape))

    @property
    def plan_shape(self) -> tuple[int, ...]:
        """The shape of the value of one step."""
        shape = np.broadcast_shapes(*(signal.shape for signal in self.call.signals))  # type: ignore[arg-type]
        axis = self.call.signals[0].time_axis
        return (*shape[: axis - 1], 1, *shape[axis - 1 :])


def roll(one: Callable[[Any, Rows], tuple[tf.Tensor, Rows]], steps: int, states: Rows) -> tuple[tf.Tensor, Rows]:
    """The values of all steps (B, T, ...) and the last states; long chunks loop."""
    if steps <= _MAX_UNROLLED:
        values = []
        for index in range(steps):
            value, states = one(index, states)
            values.append(value)
        return tf.stack(values, axis=1), states
    first, _ = one(0, states)
    filled = tf.zeros((first.shape[0], steps, *first.shape[1:]), first.dtype)

    def body(index: tf.Tensor, filled: tf.Tensor, states: Rows) -> Any:
        value, states = one(index, states)
        return index + 1, tf.concat([filled[:, 1:], value[:, None]], axis=1), states

    loop = [tf.constant(0), filled, states]
    _, filled, states = tf.while_loop(lambda index, *_: index < steps, body, loop, parallel_iterations=1)
    return filled, states


class Computed(Rule):
    """A function of tensors in their offline layout, (B, ..., T, ...) for sequences, applied to every step.

    If no argument is a sequence it is applied to (B * T, ...), once for each step.
    """

    def __init__(self, call: Call, function: Callable[..., tf.Tensor], result: Signal) -> None:
        super().__init__(call)
        self.function, self.result_signal = function, result

    def plan(self) -> Signal:
        return self.result_signal

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Any:
        values = [item for item in args if isinstance(item, Chunk)]
        steps = values[0].steps if values else 1
        sequence = self.result_signal.sequence
        tensors = []
        for item, signal in zip(args, self.call.args, strict=True):
            if isinstance(item, Chunk):
                tensors.append(to_offline(item.full, signal.layout) if sequence else item.flat)
            else:
                tensors.append(item.value if sequence else item.repeated(steps))
        output = self.function(*tensors)
        if not values:
            return Static(output)
        if not sequence:
            return Chunk(env.batch, steps, flat=output)
        sizes: tuple[Any, ...] = (env.batch, steps, *self.result_signal.shape)
        return Chunk(env.batch, steps, full=to_canonical(output, self.result_signal.layout, sizes))
