"""Sequences known only at their end, as sums of a sequence times a running value; what sums over time make of them.

A softmax over time, x - mean(x), or exp(s) / sum(exp(s)) cannot be given step by step. A weighted sum of it can: with
v(t) = sum_i local_i(t) * factor_i, where the factors are known only at the end,

    sum_t v(t) = sum_i factor_i * sum_t local_i(t),

and both sides can be updated at each step. Terms with logits carry exp(logits(t) - peak), summed in the rescaled form
of `running`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import tensorflow as tf

from streaming.conversion.layouts import time_at
from streaming.conversion.rules.base import Call, Rule
from streaming.conversion.rules.running import Computed, Running
from streaming.conversion.signals import Signal, Term

Terms = tuple[Term, ...]
_PROBE_BATCH, _PROBE_STEPS = 2, 3


@dataclass(frozen=True)
class Builder:
    """Adds steps to a plan on behalf of one call, under names that begin with the name of the call.

    add: (rule, its arguments) -> its signal; name: makes a name unique.
    """

    call: Call
    add: Callable[[Rule, tuple[Any, ...]], Signal]
    name: Callable[[str], str]

    def part(self, suffix: str, args: tuple[Any, ...]) -> Call:
        """A call of the same operation on other arguments, named after it."""
        name = self.name(f"{self.call.name}/{suffix}")
        return Call(self.call.op, name, args, {}, self.call.results, self.call.options)

    def compute(self, suffix: str, function: Callable[..., Any], *args: Signal, time_axis: int | None = None) -> Signal:
        """A function of tensors in their offline layout, step by step; its shape is found by a trial on zeros."""
        zeros = [tf.zeros(_probe_shape(signal), signal.dtype) for signal in args]
        output = tf.convert_to_tensor(function(*zeros))
        shape = list(output.shape)[1:]
        moving = [signal for signal in args if signal.timeline is not None]
        sequences = [signal for signal in moving if signal.sequence]
        axis = 1
        if sequences:
            axis = sequences[0].time_axis if time_axis is None else time_axis
            del shape[axis - 1]
        result = Signal(
            "",
            tuple(shape),
            output.dtype.name,
            moving[0].timeline if moving else None,
            running=bool(moving) and not sequences,
            whole=not moving and any(signal.whole for signal in args),
            layout=time_at(axis, len(shape) + 2) if sequences else None,
        )
        call = self.part(suffix, args)
        return self.add(Computed(call, function, replace(result, name=call.name)), args)

    def run(self, kind: str, *args: Signal, dtype: str | None = None) -> Signal:
        """A running value, with time as an axis of size 1."""
        return self.add(Running(self.part(kind, args), kind, dtype), args)

    def cumulate(self, kind: str, signal: Signal, dtype: str | None = None) -> Signal:
        """The running value of every step as a sequence."""
        return self.add(Running(self.part(kind, (signal,)), kind, dtype, sequence=True), (signal,))

    def pending(self, terms: Terms, like: Signal, axis: int) -> Signal:
        """A sequence that is known only at its end, on the timeline of another, with time at an axis."""
        shape = np.broadcast_shapes(*(_features(term, axis) for term in terms))
        layout = time_at(axis, len(shape) + 2)
        return Signal(self.call.name, shape, "float32", like.timeline, layout=layout, terms=terms)


def _probe_shape(signal: Signal) -> tuple[int, ...]:
    shape = list(signal.offline_shape)
    shape[0] = _PROBE_BATCH
    if signal.sequence:
        shape[signal.time_axis] = _PROBE_STEPS
    return tuple(shape)  # type: ignore[arg-type]


def _features(term: Term, axis: int) -> tuple[int, ...]:
    """The shape of a term without batch and time."""
    shapes: list[Any] = []
    for part in (term.local, term.logits, term.factor):
        if isinstance(part, Signal):
            shape = part.shape if part.sequence else (*part.shape[: axis - 1], *part.shape[axis:])
            shapes.append(shape)
        elif part is not None and np.ndim(part):
            shape = np.shape(part)
            shapes.append(shape)
    return tuple(np.broadcast_shapes(*shapes)) if shapes else ()


class Algebra:
    """Arithmetic of terms; `refuse` is called where the result is no sum of such terms."""

    def __init__(self, build: Builder, refuse: Callable[[], Any]) -> None:
        self.build, self.refuse = build, refuse

    def terms(self, value: Any) -> Terms:
        """A signal or constant as terms."""
        if isinstance(value, Signal) and value.terms:
            return value.terms
        if isinstance(value, Signal) and value.sequence:
            return (Term(local=self.floating(value)),)
        return (Term(factor=self.floating(value) if isinstance(value, Signal) else value),)

    def floating(self, signal: Signal) -> Signal:
        """A signal in float32, in which masks and counts are multiplied."""
        if signal.dtype == "float32":
            return signal
        return self.build.compute("cast", lambda x: tf.cast(x, tf.float32), signal)

    def both(self, suffix: str, function: Callable[..., Any], x: Any, y: Any) -> Any:
        """A function of two parts of terms, None where both are None."""
        if not isinstance(x, Signal) and not isinstance(y, Signal):
            return function(tf.constant(x, tf.float32), tf.constant(y, tf.float32)).numpy()
        if not isinstance(y, Signal):
            return self.build.compute(suffix, lambda a: function(a, tf.cast(y, a.dtype)), x)
        if not isinstance(x, Signal):
            return self.build.compute(suffix, lambda b: function(tf.cast(x, b.dtype), b), y)
        return self.build.compute(suffix, function, x, y)

    def product(self, x: Any, y: Any) -> Any:
        """x * y, where None is 1."""
        if x is None or y is None:
            return y if x is None else x
        return self.both("product", tf.multiply, x, y)

    def multiply(self, a: Terms, b: Terms) -> Terms:
        """All products of terms; a square is taken around the first value, so that it does not cancel."""
        if a is b:
            a = b = self.centred(a)
        products = [self._product(x, y) for x in a for y in b]
        return self.collected(products)

    def _product(self, a: Term, b: Term) -> Term:
        if a.logits is not None and b.logits is not None:
            self.refuse()
        logits = a.logits if b.logits is None else b.logits
        factor = self.product(a.factor, b.factor)
        local = self.product(a.local, b.local)
        if local is not None and factor is not None and not isinstance(factor, Signal):
            local, factor = self.product(local, factor), None
        return Term(local, logits, factor)

    def centred(self, terms: Terms) -> Terms:
        """The same terms with the first value of a sequence moved from its plain term to a plain factor."""
        plain = [term for term in terms if term.local is not None and term.logits is None and term.factor is None]
        rest = [term for term in terms if term not in plain]
        if not plain or not rest or any(term.local is not None or term.logits is not None for term in rest):
            return terms
        local = plain[0].local
        assert local is not None
        first = self.build.run("first", local)
        moved = self.build.add(Shifted(self.build.part("shifted", (local, first))), (local, first))
        return (Term(local=moved), *self.collected([*rest, Term(factor=first)]))

    def collected(self, terms: Sequence[Term]) -> Terms:
        """Plain sequences added up to one, and plain factors to one."""
        plain = [t.local for t in terms if t.local is not None and t.logits is None and t.factor is None]
        fixed = [t.factor for t in terms if t.local is None and t.logits is None]
        rest = [t for t in terms if not (t.logits is None and (t.local is None or t.factor is None))]
        sums = [Term(local=reduce(lambda x, y: self.both("sum", tf.add, x, y), plain))] if plain else []
        sums += [Term(factor=reduce(lambda x, y: self.both("sum", tf.add, x, y), fixed))] if fixed else []
        return (*sums, *rest)

    def add(self, a: Terms, b: Terms) -> Terms:
        """a + b."""
        return self.collected([*a, *b])

    def negative(self, a: Terms) -> Terms:
        """-a."""
        return self.multiply(a, (Term(factor=-1.0),))

    def divide(self, a: Terms, b: Terms, function: Callable[..., Any] = tf.divide) -> Terms:
        """a / b for a single term b without weights."""
        if len(b) != 1 or b[0].logits is not None:
            self.refuse()
        parts = [
            None if part is None else self.both("ratio", function, 1.0, part) for part in (b[0].local, b[0].factor)
        ]
        return self.multiply(a, (Term(local=parts[0], factor=parts[1]),))

    def power(self, a: Terms, exponent: Any) -> Terms:
        """a ** 2; higher powers would cancel."""
        if isinstance(exponent, Signal) or np.ndim(exponent) or float(exponent) != 2.0:
            self.refuse()
        return self.multiply(a, a)

    def exp(self, a: Terms) -> Terms:
        """The exponential of a sum of scores, rescaled by their peak."""
        plain = [t.local for t in a if t.local is not None and t.logits is None and t.factor is None]
        fixed = [t.factor for t in a if t.local is None and t.logits is None]
        if len(plain) + len(fixed) != len(a) or not plain or not fixed:
            self.refuse()
        logits, rest = plain[0], fixed[0]
        if not isinstance(rest, Signal):
            return (Term(local=self.build.compute("exp", lambda x: tf.exp(x + rest), logits)),)
        peak = self.build.run("max", logits)
        return (Term(logits=logits, factor=self.build.compute("exp", lambda p, r: tf.exp(p + r), peak, rest)),)

    def total(self, terms: Terms, like: Signal, mean: bool = False) -> Signal:
        """The sum (or mean) over time, running, with time as an axis of size 1."""
        count: Signal | None = None

        def ones() -> Signal:
            axes = [1] * (len(like.offline_shape))
            shape = list(axes)

            def function(x: tf.Tensor) -> tf.Tensor:
                shape[0], shape[like.time_axis] = x.shape[0], x.shape[like.time_axis]
                return tf.ones(shape)

            return self.build.compute("ones", function, source)

        sequences = [t.local if t.local is not None else t.logits for t in terms]
        source = next((signal for signal in sequences if signal is not None), like)
        parts: list[Any] = []
        for term in terms:
            if term.logits is not None:
                local = term.local if term.local is not None else ones()
                value: Any = self.build.run("weighted", term.logits, local)
                if mean:
                    count = count or self.build.run("sum", ones())
                    value = self.both("mean", tf.divide, value, count)
            elif term.local is not None:
                value = self.build.run("mean" if mean else "sum", term.local)
            elif mean:
                value = None
            else:
                count = count or self.build.run("sum", ones())
                value = count
            parts.append(self.product(value, term.factor))
        return reduce(lambda x, y: self.both("sum", tf.add, x, y), parts)


class Shifted(Computed):
    """x(t) minus the first value of x, which is known at every step."""

    def __init__(self, call: Call) -> None:
        signal = call.args[0]
        super().__init__(call, tf.subtract, replace(signal, name=call.name, quiet=False, origin=None))

    def step(self, env: Any, *args: Any, **kwargs: Any) -> Any:
        local, first = args
        shape = self.call.args[0].shape
        start = tf.reshape(first.full, (env.batch, local.steps, *shape))
        return local.like(full=local.full - start)
