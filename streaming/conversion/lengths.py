"""Chooses the lengths of the sequences of a verification by the rates and receptive fields of the plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from streaming.errors import ParityError

if TYPE_CHECKING:
    from streaming.conversion.plan import Plan

# A model whose first output needs more input than this is not proven.
LONGEST = 2**22


class Lengths:
    """The lengths at which a stream is exact."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    @cached_property
    def least(self) -> int:
        """The shortest exact length; raises ParityError where there is none."""
        if self._plan.window is not None:
            return 1 if self._plan.pad else self._plan.window
        high = 1
        while not self._plan.long_enough(high):
            high *= 2
            if high > LONGEST:
                raise ParityError(f"the model gives no output within {LONGEST} steps; shorten its receptive field")
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._plan.long_enough(middle) else (middle, high)
        if (length := self._above(high)) is None:
            raise ParityError("at no length of its input does the stream equal the model; pad or crop its branches")
        return length

    @cached_property
    def greatest(self) -> int:
        """The longest exact length, if the plan is exact up to some length only; at most LONGEST."""
        low, high = self.least, 2 * self.least
        while high < LONGEST and self._above(high) is not None:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._above(middle) is None else (middle, high)
        return next(steps for steps in range(low + 2 * self._plan.unit, 0, -1) if self._plan.exact(steps))

    def near(self, steps: int) -> int:
        """The first exact length of at least `steps`; the longest one if there is none."""
        length = self._above(max(steps, self.least))
        return self.greatest if length is None else length

    def below(self, steps: int) -> int | None:
        """The last exact length of at most `steps`; None if there is none."""
        if steps < self.least:
            return None
        last = self._plan.unit * 2
        return next((n for n in range(steps, max(steps - last, self.least - 1), -1) if self._plan.exact(n)), self.least)

    def _above(self, steps: int) -> int | None:
        # Conditions on lengths repeat with the unit, in which every clock has whole slots.
        return next((n for n in range(steps, steps + 2 * self._plan.unit + 1) if self._plan.exact(n)), None)

    @cached_property
    def memory(self) -> int:
        """Steps that windows and delays look back, at most: the sum over the graph of what each of them holds."""
        total = 0.0
        for step in self._plan.steps:
            held = max((spec.shape[0] for spec in step.rule.states.values() if len(spec.shape) > 1), default=0)
            rates = [signal.timeline.rate for signal in step.reads if signal.timeline]
            total += held / float(min(rates, default=1))
        return math.ceil(total)

    def chosen(self, chunk: int, is_affordable: Callable[[int], bool]) -> list[int]:
        """Short lengths, lengths near whole chunks, and if affordable one beyond the memory of the stream."""
        unit, least, window = self._plan.unit, self.least, self._plan.window
        if window is not None:
            beside = {1, window - 1, window, window + 1, window + 2 * chunk + 1}
            longer = {window + 3 * max(self._plan.hop, chunk) + 2}
            return sorted({steps for steps in beside if steps} | {steps for steps in longer if is_affordable(steps)})
        needed = {least, 2 * chunk + 1}
        wanted = {least + unit, least + 3 * unit + 1, least + 15, 3 * chunk - 1, least + self.memory + 2 * unit + 1}
        lengths = {self.near(steps) for steps in needed}
        return sorted(lengths | {steps for steps in map(self.near, wanted) if is_affordable(steps)})
