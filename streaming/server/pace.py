"""What the work of a message costs: cheap work is done in the event loop itself, the rest in threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

# Seconds for which the loop may work on one message while others wait, and how much the estimate may rise at once.
_LIMIT, _RISE = 0.005, 1.05
# Each message that is too dear brings the estimate down: one day it is tried again.
_FORGET = 0.98


class Pace:
    """The seconds that a step takes: about the shortest lately, since other programs make some of them longer.

    Handing a message to a thread and back costs more than a small model. A message whose work is estimated to be short
    is therefore done by the thread of the event loop.
    """

    def __init__(self) -> None:
        self._step: float | None = None

    def allows(self, steps: int) -> bool:
        """Whether the loop may take so many steps itself."""
        if self._step is None:
            return False
        if self._step * steps <= _LIMIT:
            return True
        self._step *= _FORGET
        return False

    def run(self, steps: int, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function that takes so many steps, and measure it."""
        began = time.perf_counter()
        try:
            return function(*args)
        finally:
            self.count(steps, time.perf_counter() - began)

    def count(self, steps: int, seconds: float) -> None:
        """Take a measurement into the estimate."""
        step = seconds / max(1, steps)
        self._step = step if self._step is None else min(step, _RISE * self._step)
