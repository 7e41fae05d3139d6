"""Memory that clients have left behind, given back to the system: the C library keeps it for the next ones."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

# Streams below which nothing is worth it, and seconds for which work that a client has left ends by itself.
_FEW, _PAUSE = 16, 3.0
# `mallopt`'s number of M_ARENA_MAX, and how many arenas the threads of a server share.
_ARENA_MAX, _ARENAS = -8, 2


def share_arenas() -> None:
    """Let all threads of this process take memory from few arenas: each of many would keep what its thread freed."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # only the GNU library has it
        ctypes.CDLL(None).mallopt(_ARENA_MAX, _ARENAS)


class Heap:
    """Decides when to give memory back: some seconds after half of the most streams have gone."""

    def __init__(self) -> None:
        self._most = 0
        self._due: float | None = None
        try:
            self._trim: Any = ctypes.CDLL(None).malloc_trim
        except (AttributeError, OSError, TypeError):  # only the GNU library has it
            self._trim = None

    def is_due(self, streams: int, now: float) -> bool:
        """Whether to `trim` with so many streams open at a time in seconds; asked about once a second."""
        self._most = max(self._most, streams)
        if self._due is None and self._most >= _FEW and streams <= self._most // 2:
            self._due = now + _PAUSE
        if self._due is None or now < self._due:
            return False
        self._most, self._due = streams, None
        return self._trim is not None

    def trim(self) -> None:
        """Give free pages back; takes milliseconds, in which other threads run."""
        self._trim(0)
