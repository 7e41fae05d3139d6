"""Counts that all workers of a server can read: one page of shared memory with a row for each."""

from __future__ import annotations

import mmap
import os
import tempfile
import time

import numpy as np

# Of a worker: its streams, whether it refuses further ones, when it answered a short message last (milliseconds).
_STREAMS, _FULL, _SHORT, _COLUMNS = 0, 1, 2, 3


class Board:
    """The counts.

    Each worker writes its own row, and reads all; a stream that another worker takes at the same moment may be missed.

    Args:
        workers: number of rows.
        descriptor: of the file of another process' board; None makes one.
    """

    def __init__(self, workers: int, descriptor: int | None = None) -> None:
        size = workers * _COLUMNS * 8
        if descriptor is None:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
            os.ftruncate(descriptor, size)
        self.descriptor = descriptor
        self._rows = np.frombuffer(mmap.mmap(descriptor, size), np.int64).reshape(workers, _COLUMNS)

    @property
    def streams(self) -> int:
        """The streams of all workers."""
        return int(self._rows[:, _STREAMS].sum())

    def count(self, worker: int, streams: int) -> None:
        """Write how many streams a worker has."""
        self._rows[worker, _STREAMS] = streams

    def answer(self, worker: int) -> None:
        """Write that a worker has just answered a short message."""
        self._rows[worker, _SHORT] = 1000 * time.monotonic()

    @property
    def quiet(self) -> float:
        """The seconds since a worker answered a short message."""
        return time.monotonic() - 0.001 * float(self._rows[:, _SHORT].max())

    def mark(self, worker: int, is_full: bool) -> None:
        """Write whether a worker takes no further streams."""
        self._rows[worker, _FULL] = is_full

    def is_full(self, worker: int) -> bool:
        """Whether it takes no further streams."""
        return bool(self._rows[worker, _FULL])

    def clear(self, worker: int) -> None:
        """Forget a worker that has ended."""
        self._rows[worker] = 0
