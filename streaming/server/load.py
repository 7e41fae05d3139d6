"""How late answers are, and whether there is room for another stream."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

# Seconds over which delays are averaged, and the share of the limit below which new streams are taken again.
_MEMORY, _CALM = 2.0, 0.25
# Streams that are taken in any case: so few do not make a load, but long messages and other programs may look like one.
_FEW = 8
# Share of a processor above which the thread of the event loop has no time for another stream.
_FULL = 0.85


class Load:
    """The load of one event loop.

    An overloaded server is noticed before its answers are late: new streams are refused where the mean delay of an
    answer passes half of what is late, or the thread of the loop works nearly all of its time.

    Args:
        late: seconds from the arrival of a message to its answer above which the answer is late.
        clock: seconds that pass.
        work: seconds of processor time of the loop's thread.
    """

    def __init__(
        self,
        late: float,
        clock: Callable[[], float] = time.monotonic,
        work: Callable[[], float] = time.thread_time,
    ) -> None:
        self.late, self._clock, self._work = late, clock, work
        self._mean, self._since = 0.0, clock()
        self._worked, self._measured = 0.0, (clock(), work())
        self._is_high = False

    def answered(self, delay: float) -> bool:
        """Count an answer that came after so many seconds; whether it was late."""
        now = self._clock()
        # The later the measurement, the less the past counts; many at once count as one moment.
        keep = math.exp(-(now - self._since) / _MEMORY) if now > self._since else 1.0
        self._since = now
        share = max(1.0 - keep, 0.002)
        self._mean += share * (delay - self._mean)
        return delay > self.late

    def measure(self) -> None:
        """Measure the work of the calling thread, that of the loop, since the last call; about once a second."""
        now, work = self._clock(), self._work()
        before, worked = self._measured
        if now > before:
            self._worked = (work - worked) / (now - before)
        self._measured = (now, work)

    @property
    def delay(self) -> float:
        """The mean delay of an answer lately, in seconds."""
        quiet = self._clock() - self._since
        return self._mean * math.exp(-quiet / _MEMORY)

    @property
    def worked(self) -> float:
        """The share of its time for which the loop's thread worked lately."""
        return self._worked

    def refusal(self, streams: int) -> str | None:
        """Why no further stream is taken beside so many, None where one is."""
        if streams < _FEW:
            return None
        delay, limit = self.delay, self.late / 2
        self._is_high = delay > (limit * _CALM * 2 if self._is_high else limit) or self._worked > _FULL
        if not self._is_high:
            return None
        return (
            f"the server has no time for another stream (answers take {1e3 * delay:.0f} ms, the processor is busy "
            f"{self._worked:.0%} of the time); come back later, or start it with more --workers"
        )
