"""States of streams that step together, side by side, so that gathering them for an invoke costs nothing."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from streaming.runtime.contract import SlabMember


class Slab:
    """The packed states of streams that one invoke took on, in arrays (B, size): stream i has row i.

    Steps that all of them took together are counted here, for all at once: `steps` are to be added to the position of
    each, and `past` is a position that all of them have reached.

    It lasts while exactly these streams step together. If anything else happens to one of them, also if it is freed,
    every stream gets its own copy of its row, so that an idle stream never keeps the states of others in memory.
    """

    def __init__(self, arrays: Sequence[NDArray[Any]], streams: Sequence[SlabMember]) -> None:
        self.arrays = arrays
        self.steps = self.past = 0
        with _lock:
            old = {stream.slab for stream in streams if stream.slab is not None}
            for slab in old:
                slab.settle()
            for row, stream in enumerate(streams):
                stream.slab, stream.row = self, row
            self._ids = list(map(id, streams))
            self._members = [weakref.ref(stream, self._dissolve) for stream in streams]
            for slab in old:
                slab.dissolve()

    @staticmethod
    def of(streams: Sequence[SlabMember]) -> Slab | None:
        """The slab that has exactly these streams in this order; None where there is none."""
        slab = streams[0].slab
        return slab if slab is not None and slab._ids == list(map(id, streams)) else None

    def rows(self, row: int) -> list[NDArray[Any]]:
        """One stream's states, (1, size) each, as views."""
        return [array[row : row + 1] for array in self.arrays]

    def count(self, steps: int) -> None:
        """Count steps that all streams took."""
        self.steps += steps
        self.past += steps

    def settle(self) -> None:
        """Update the position of each stream; some may belong to other threads."""
        with _lock:
            steps, self.steps = self.steps, 0
            for member in self._members if steps else ():
                stream = member()
                if stream is not None and stream.slab is self:
                    stream.skip(steps)

    def dissolve(self) -> None:
        """Give each stream that is still here its own states and position, as `settle`."""
        with _lock:
            self.settle()
            members, self._members, self._ids = self._members, [], []
            for member in members:
                stream = member()
                if stream is not None and stream.slab is self:
                    stream.own = [array.copy() for array in self.rows(stream.row)]
                    stream.slab = None

    def _dissolve(self, _: weakref.ref[SlabMember]) -> None:
        self.dissolve()


# One for all: it is held for moments, when streams change their company. A stream in a slab changes only under it.
_lock = threading.RLock()


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
