"""The steps of a message in pieces, so that a slow reader holds back the computing, and a long message nobody else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.runtime.metadata import Metadata
from streaming.runtime.tasks import TimedRows
from streaming.runtime.tokenization import iter_words

# Outputs of arrays are sent in pieces of about this size.
_PIECE_BYTES, _PIECE_STEPS = 1 << 14, 1024
# Steps of a piece, by what a task takes: some milliseconds of work each.
_TASK_STEPS = {"words": 64, "rows": 128, "audio": 4096}


class Pieces(Iterator[Any]):
    """The pieces of one message.

    Args:
        pieces: one after the other.
        is_long: whether there is more than one; long messages wait for each other.
        is_slow: whether the next piece takes time to make.
        steps: the steps of a message of one piece.
    """

    def __init__(self, pieces: Iterator[Any], is_long: bool, is_slow: bool = False, steps: int = 1) -> None:
        self._pieces, self.is_long, self.is_slow, self.steps = pieces, is_long, is_slow, steps

    def __next__(self) -> Any:
        return next(self._pieces)


def whole(x: Any) -> Pieces:
    """A message that is one piece, whatever its size."""
    return Pieces(iter([x]), False)


def cut(steps: Any, takes: str) -> Pieces:
    """Pieces of a list or array, for a task."""
    size = _TASK_STEPS[takes]
    return Pieces(
        (steps[begin : begin + size] for begin in range(0, len(steps), size)), len(steps) > size, steps=len(steps)
    )


def cut_timed(seconds: list[float], rows: NDArray[Any]) -> Pieces:
    """Pieces of rows with their times; rows without a step are one piece as well."""
    size = _TASK_STEPS["rows"]
    begins = range(0, max(1, len(rows)), size)
    parts = (TimedRows(seconds[begin : begin + size], rows[begin : begin + size]) for begin in begins)
    return Pieces(parts, len(rows) > size, steps=len(rows))


def cut_text(text: str) -> Pieces:
    """Pieces of the words of a text, split as they are taken."""
    size, words = _TASK_STEPS["words"], iter_words(text)
    first = list(itertools.islice(words, size + 1))
    words = itertools.chain(first, words)
    parts = iter(lambda: list(itertools.islice(words, size)), [])
    return Pieces(parts, len(first) > size, is_slow=len(first) > size, steps=len(first))


def cut_arrays(arrays: list[NDArray[Any]], meta: Metadata) -> Pieces:
    """Pieces of the inputs of a model without a task."""
    total = next(len(array) for array, info in zip(arrays, meta.inputs, strict=True) if info.time)
    size = piece_steps(meta)

    def pieces() -> Iterator[Any]:
        # A message without steps is one piece as well: it gets an answer.
        for begin in range(0, max(total, 1), size):
            parts = {
                info.name: array[begin : begin + size] if info.time else array
                for array, info in zip(arrays, meta.inputs, strict=True)
            }
            yield parts if len(parts) > 1 else next(iter(parts.values()))

    return Pieces(pieces(), total > size, steps=total)


def piece_steps(meta: Metadata) -> int:
    """Steps whose outputs make about one piece: whole chunks, at least one."""
    rows = [(out.rate, math.prod(out.shape) * np.dtype(out.dtype).itemsize) for out in meta.outputs]
    size = sum(max(1, math.ceil(width * up / down)) for (up, down), width in rows)
    steps = min(_PIECE_STEPS, _PIECE_BYTES // size)
    return max(meta.chunk, steps // meta.chunk * meta.chunk)
