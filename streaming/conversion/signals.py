"""Signals: a tensor's shape and timing, as the planner knows them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from streaming.conversion.layouts import Layout, time_at


@dataclass(frozen=True)
class Clock:
    """A train of slots, some of which hold an element. The root clock ticks once an input step, from 0 to T.

    A strided clock takes every `stride`-th slot of its parent timeline, those at slot = u * stride + phase; a clock
    with `repeat` has that many slots for each slot of its parent. Chunks hold whole numbers of slots of every clock.
    """

    parent: Timeline | None = None
    stride: int = 1
    phase: int = 0
    repeat: int = 1

    @property
    def rate(self) -> Fraction:
        """Slots per input step."""
        parent = self.parent.clock.rate if self.parent else Fraction(1)
        return parent * self.repeat / self.stride

    def span(self, steps: int) -> tuple[int, int]:
        """First slot that holds an element and the one after the last, for an input of that many steps."""
        if self.parent is None:
            return 0, steps
        first, last = self.parent.span(steps)
        if self.repeat > 1:
            return first * self.repeat, last * self.repeat
        return -((self.phase - first) // self.stride), -((self.phase - last) // self.stride)


@dataclass(frozen=True)
class Timeline:
    """The slots of a clock in which a tensor has its elements, relative to those of the clock itself.

    With f, l the clock's span, elements lie in the slots f + start <= s < l + end: a causal layer keeps (0, 0), one
    that looks d slots ahead makes (d, d), a convolution of K steps without padding (K - 1, 0).
    """

    start: int = 0
    end: int = 0
    clock: Clock = Clock()

    @property
    def rate(self) -> Fraction:
        """Slots per input step."""
        return self.clock.rate

    @property
    def first(self) -> int:
        """The slot of the first element, counted from the beginning of the stream."""
        return self.span(0)[0]

    def span(self, steps: int) -> tuple[int, int]:
        """The slot of the first element and the one after the last, for an input of that many steps."""
        first, last = self.clock.span(steps)
        return first + self.start, last + self.end

    def length(self, steps: int) -> int:
        """Number of elements for an input of that many steps."""
        first, last = self.span(steps)
        return max(0, last - first)

    def shifted(self, start: int, end: int) -> Timeline:
        """The timeline that begins `start` and ends `end` slots later."""
        return Timeline(self.start + start, self.end + end, self.clock)

    def delayed(self, slots: int) -> Timeline:
        """The same elements, some slots later."""
        return self.shifted(slots, slots)

    def strided(self, stride: int) -> Timeline:
        """Every `stride`-th element, from the first on."""
        return Timeline(clock=Clock(self, stride, self.first % stride)) if stride > 1 else self

    def repeated(self, times: int) -> Timeline:
        """Every element in `times` slots."""
        return Timeline(clock=Clock(self, repeat=times)) if times > 1 else self


@dataclass(frozen=True)
class Term:
    """One summand of a sequence that is known only at its end: local(t) * exp(logits(t) - peak) * factor.

    local, logits: sequences, None for 1 and for no weight; peak is the largest of the logits so far; factor: a running
    or static signal, or a constant, with time as an axis of size 1.
    """

    local: Signal | None = None
    logits: Signal | None = None
    factor: Any = None

    def mapped(self, function: Callable[[Signal], Signal]) -> Term:
        """The term with every signal in it replaced."""
        parts = (self.local, self.logits, self.factor)
        return Term(*(function(part) if isinstance(part, Signal) else part for part in parts))


@dataclass(frozen=True, eq=False)
class Signal:
    """A tensor of the model, as the planner sees it. Compared by identity: one signal, one tensor.

    shape: offline shape without batch and time; timeline: None for a static input, given whole at every step;
    running: the offline tensor has no time axis and the stream holds its value after each step;
    quiet: zero at positions that do not exist;
    origin: the input of the model that this is, unchanged; whole: computed once, by `encode`, from inputs that are
    given whole before the stream starts; spread: such a signal has the positions of its source at its first axis;
    weights: of attention, whose last axis has the S positions of a source; offline it is as long as the source;
    layout: where batch, time and the features lie in the offline tensor; None: (B, T, *shape) or (B, *shape);
    terms: of a sequence whose elements depend on what is known only at its end, such as a softmax over time, the
    summands that it stands for; source, source_axis: of a tensor that has the positions of a source at another axis
    than the first, the signal that knows which of them are real, and that axis of the offline tensor.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    timeline: Timeline | None
    running: bool = False
    quiet: bool = False
    origin: str | None = None
    whole: bool = False
    spread: bool = False
    weights: bool = False
    layout: Layout | None = None
    terms: tuple[Term, ...] = ()
    source: Signal | None = None
    source_axis: int = 0

    @property
    def sequence(self) -> bool:
        """The offline tensor has a time axis: (B, T, *shape), where its layout is the standard one."""
        return self.timeline is not None and not self.running

    @property
    def offline_shape(self) -> tuple[int | None, ...]:
        """(B, T, *shape) or (B, *shape), or that in another layout; unknown sizes as None."""
        sizes = (None, None, *self.shape) if self.sequence else (None, *self.shape)
        if self.layout is None:
            return sizes
        grouped = [[sizes[axis] for axis in group] for group in self.layout]
        return tuple(None if None in group else math.prod(group) for group in grouped)  # type: ignore[arg-type]

    @property
    def time_axis(self) -> int:
        """The axis of time of a sequence in whose layout nothing else has moved; 0 where something has."""
        if self.layout is None:
            return 1
        axis = next((place for place, group in enumerate(self.layout) if group == (1,)), 0)
        return axis if self.layout == time_at(axis, len(self.layout)) else 0


@dataclass(frozen=True)
class StateSpec:
    """One state of one layer: what a stream carries from step to step. `initial` is a number or an array."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    initial: Any = field(default=0.0, compare=False)
