"""Products of tensors (matmul, einsum, Dot) in which time is summed over, or is not axis 1."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from keras import layers

from streaming._compat import numpy_operations
from streaming.conversion.rules.base import Call
from streaming.conversion.rules.separable import Algebra, Builder
from streaming.conversion.signals import Signal, Term


@dataclass(frozen=True)
class Equation:
    """The letters of two operands and of the result, batch first."""

    left: str
    right: str
    result: str


def equation_of(call: Call) -> Equation | None:
    """The equation of a call that multiplies two operands, None for any other call."""
    op, operands = call.op, operands_of(call)
    if len(operands) != 2 or not all(isinstance(item, Signal) for item in operands):
        return None
    ranks = [len(item.offline_shape) for item in operands]
    if type(op) is numpy_operations.Matmul:
        return _matmul(*ranks)
    if type(op) is layers.Dot and not op.normalize:
        return _dot(op, *ranks)
    if type(op) is numpy_operations.Einsum:
        return _einsum(op.subscripts, *ranks)
    return None


def operands_of(call: Call) -> list[Any]:
    """Operands of a contraction."""
    first = call.args[0] if call.args else None
    if isinstance(first, list | tuple):
        return list(first)
    return [*call.args, *(value for name, value in call.kwargs.items() if name != "mask")]


def _matmul(left: int, right: int) -> Equation | None:
    if left != right or left < 3:
        return None
    outer = string.ascii_lowercase[: left - 2]
    return Equation(f"{outer}xy", f"{outer}yz", f"{outer}xz")


def _dot(op: Any, left: int, right: int) -> Equation | None:
    axes = [op.axes] * 2 if isinstance(op.axes, int) else list(op.axes)
    first, second = (axis % rank for axis, rank in zip(axes, (left, right), strict=True))
    a = "a" + string.ascii_lowercase[1:left]
    b = "a" + string.ascii_lowercase[left : left + right - 1]
    b = b[:second] + a[first] + b[second + 1 :]
    result = a[:first] + a[first + 1 :] + b[1:].replace(a[first], "")
    return Equation(a, b, result) if len(result) > 1 else None


def _einsum(subscripts: str, left: int, right: int) -> Equation | None:
    text = subscripts.replace(" ", "")
    if "..." in text or "->" not in text:
        return None
    operands, result = text.split("->")
    a, b = operands.split(",")
    known = len(a) == left and len(b) == right and a[0] == b[0] == result[:1]
    return Equation(a, b, result) if known else None


class Contraction:
    """One product in which a sequence takes part."""

    def __init__(self, call: Call, equation: Equation, build: Builder, algebra: Algebra) -> None:
        self.call, self.equation, self.build, self.algebra = call, equation, build, algebra
        self.left, self.right = operands_of(call)

    @property
    def times(self) -> set[str]:
        """The letters of time."""
        pairs = ((self.left, self.equation.left), (self.right, self.equation.right))
        return {letters[signal.time_axis] for signal, letters in pairs if signal.sequence}

    @property
    def sums_time(self) -> bool:
        """Whether time is among the axes summed over."""
        return bool(self.times - set(self.equation.result))

    def signal(self) -> Signal:
        """The result: a running value where time is summed over, else a sequence."""
        if len(self.times) > 1:
            self.algebra.refuse()
        if not self.times:
            self.algebra.refuse()
        time = next(iter(self.times))
        result = self.equation.result
        # With time as a letter of the result, behind the batch, one step is a product of its own.
        stepwise = result if time in result else result[0] + time + result[1:]
        terms = [
            self._term(a, b, stepwise, time)
            for a in self.algebra.terms(self.left)
            for b in self.algebra.terms(self.right)
        ]
        plain = all(term.logits is None and term.factor is None for term in terms)
        axis = stepwise.index(time)
        like = next(s for s in (self.left, self.right) if s.sequence)
        if time in result:
            if plain:
                return self.algebra.collected(terms)[0].local  # type: ignore[return-value]
            return self.build.pending(self.algebra.collected(terms), like, axis)
        anchor = next(t.local for t in terms if t.local is not None)
        kept = self.algebra.total(tuple(terms), anchor)
        return self.build.compute("squeeze", lambda x: tf.squeeze(x, axis), kept)

    def _term(self, a: Term, b: Term, stepwise: str, time: str) -> Term:
        if a.logits is not None and b.logits is not None:
            self.algebra.refuse()
        a, b = _static_as_local(a), _static_as_local(b)
        local = self._local(a.local, b.local, a.logits if a.logits is not None else b.logits, stepwise, time)
        logits = None
        for part, letters in ((a.logits, self.equation.left), (b.logits, self.equation.right)):
            if part is not None:
                logits = self._arranged(part, letters, stepwise, stepwise.index(time))
        factors = []
        for part, letters in ((a.factor, self.equation.left), (b.factor, self.equation.right)):
            factors.append(self._arranged(part, letters, stepwise, None) if isinstance(part, Signal) else part)
        return Term(local, logits, self.algebra.product(*factors))

    def _local(self, a: Signal | None, b: Signal | None, logits: Signal | None, stepwise: str, time: str) -> Signal:
        """The product of the two sequences, step by step."""
        left, right = self.equation.left, self.equation.right
        axis = stepwise.index(time)
        if a is None and b is None:
            self.algebra.refuse()
        if a is None or b is None:
            part, letters, other = (b, right, left) if a is None else (a, left, right)
            assert part is not None
            # The other is a weight alone: it must not be summed over but along time.
            if set(other) - set(stepwise):
                self.algebra.refuse()
            return self._arranged(part, letters, stepwise, axis)
        if a.offline_shape != self.left.offline_shape or b.offline_shape != self.right.offline_shape:
            self.algebra.refuse()
        equation = f"{left},{right}->{stepwise}"
        return self.build.compute("einsum", lambda x, y: tf.einsum(equation, x, y), a, b, time_axis=axis)

    def _arranged(self, part: Signal, letters: str, target: str, time_axis: int | None) -> Signal:
        """A tensor with its axes in the order of the target; axes that are not there have size 1."""
        shape = part.offline_shape
        gone = [index for index, letter in enumerate(letters) if letter not in target]
        if any(shape[index] != 1 for index in gone):
            self.algebra.refuse()
        kept = [letter for letter in letters if letter in target]
        order = sorted(range(len(kept)), key=lambda index: target.index(kept[index]))
        new = [index for index, letter in enumerate(target) if letter not in kept]

        def function(x: tf.Tensor) -> tf.Tensor:
            x = tf.transpose(tf.squeeze(x, gone) if gone else x, order)
            for index in new:
                x = tf.expand_dims(x, index)
            return x

        return self.build.compute("arrange", function, part, time_axis=time_axis)


def _static_as_local(term: Term) -> Term:
    """A static operand takes part in the product of every step."""
    static = isinstance(term.factor, Signal) and term.factor.timeline is None
    return Term(local=term.factor) if static and term.local is None and term.logits is None else term
