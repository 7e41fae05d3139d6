"""When the messages in hand arrived: an event loop that is busy reads them late, and does not say so."""

from __future__ import annotations

import asyncio
import selectors
import time

# A wait for sockets that takes longer than this has found none at first, in seconds.
_BLOCKED = 0.0002


class Clock(selectors.DefaultSelector):
    """A selector that remembers when it returned last.

    A message is read in one turn of the loop and answered in the next. If the selector had to wait before the turn in
    which it was read, it arrived at the end of that wait; otherwise at some time in the turn before, at whose beginning
    it is counted.

    Attributes:
        turn: how often the selector has returned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.turn = 0
        self._arrival = self._last = self._now = time.perf_counter()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The sockets that are ready, as the base class."""
        began = time.perf_counter()
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        self.turn += 1
        now = time.perf_counter()
        self._arrival, self._last = self._last, now if now - began > _BLOCKED else self._now
        self._now = now
        return ready

    def arrival(self) -> float:
        """When a message that is answered in this turn arrived at the earliest; `time.perf_counter`."""
        return self._arrival


class Idle:
    """Stands for a clock in a loop that has none: a message arrived when it was read."""

    turn = -1

    def arrival(self) -> float:
        """The present time."""
        return time.perf_counter()


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.clock = clock


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop with a clock."""
    return _Loop(Clock())


def clock_of(loop: asyncio.AbstractEventLoop) -> Clock | Idle:
    """The clock of a loop."""
    return loop.clock if isinstance(loop, _Loop) else Idle()
