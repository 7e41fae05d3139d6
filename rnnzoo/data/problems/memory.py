"""Problems of memory: what has to be kept over many steps that say nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnzoo.errors import DataError

Array = NDArray[np.float32]
Tokens = NDArray[np.int32]
# Symbols that do not matter, and those that do, of the temporal order problem.
_DISTRACTORS, _MARKS = 4, 2
# Symbols to copy; 0 is the blank, the one after them asks for the copy.
SYMBOLS, COPIED = 8, 10


class Batch(NamedTuple):
    """Inputs and targets of some sequences.

    Args:
        x: float32 rows (B, T, D), or int32 tokens (B, T).
        y: float32 (B, 1), or int32 classes (B,) or (B, T).
    """

    x: Array | Tokens
    y: Array | Tokens


def adding(rng: np.random.Generator, count: int, steps: int) -> Batch:
    """The adding problem: a number in [0, 1) and a mark at each step; the target is the sum of the two marked numbers.

    One mark is in the first half of the sequence, one in the second (Hochreiter & Schmidhuber 1997, experiment 4, in
    the form of Le et al. 2015). Answering 1 always has a mean squared error of 1/6.

    Args:
        rng: source of randomness.
        count: B.
        steps: T, at least 2.
    """
    _check("adding", steps, 2)
    x = np.zeros((count, steps, 2), np.float32)
    x[..., 0] = rng.random((count, steps))
    half, rows = steps // 2, np.arange(count)
    places = rng.integers(0, half, count), rng.integers(half, steps, count)
    for place in places:
        x[rows, place, 1] = 1.0
    return Batch(x, (x[..., 0] * x[..., 1]).sum(axis=1, keepdims=True))


def temporal_order(rng: np.random.Generator, count: int, steps: int, marks: int = 2) -> Batch:
    """The temporal order problem: which of X and Y stood at each of the marked places, in their order.

    Steps are one of six symbols, one-hot: a, b, c, d, which do not matter, and X and Y, of which `marks` come. With
    two, they are in [T/10, 2T/10] and [4T/10, 5T/10] (Hochreiter & Schmidhuber 1997, experiment 6a, in the form of
    Pascanu et al. 2013); with three, also in [7T/10, 8T/10] (6b). 2^marks classes.

    Args:
        rng: source of randomness.
        count: B.
        steps: T, at least 10.
        marks: 2 or 3.
    """
    _check("temporal_order", steps, 10)
    if marks not in (2, 3):
        raise DataError(f"temporal_order: expected 2 or 3 marks; received {marks}")
    symbols, rows = rng.integers(0, _DISTRACTORS, (count, steps)), np.arange(count)
    answer = np.zeros(count, np.int32)
    for tenth in (1, 4, 7)[:marks]:
        places = rng.integers(tenth * steps // 10, (tenth + 1) * steps // 10, count)
        which = rng.integers(0, _MARKS, count)
        symbols[rows, places] = _DISTRACTORS + which
        answer = 2 * answer + which.astype(np.int32)
    return Batch(np.eye(_DISTRACTORS + _MARKS, dtype=np.float32)[symbols], answer)


def copying(rng: np.random.Generator, count: int, steps: int) -> Batch:
    """The copy memory problem: ten symbols of eight, `steps` blanks, a request; then the ten symbols are the target.

    T = steps + 20 tokens of 0 to 9 (Arjovsky et al. 2016, section 5.1, after Hochreiter & Schmidhuber 1997, experiment
    2). The target is 0 but for the last ten steps. Without memory the cross-entropy is 10 ln 8 / (steps + 20).

    Args:
        rng: source of randomness.
        count: B.
        steps: between the symbols and the request.
    """
    _check("copying", steps, 1)
    symbols = rng.integers(1, SYMBOLS, (count, COPIED), endpoint=True).astype(np.int32)
    x = np.zeros((count, steps + 2 * COPIED), np.int32)
    y = np.zeros_like(x)
    x[:, :COPIED], x[:, COPIED + steps - 1], y[:, -COPIED:] = symbols, SYMBOLS + 1, symbols
    return Batch(x, y)


def selective_copying(rng: np.random.Generator, count: int, steps: int) -> Batch:
    """The selective copying problem: as `copying`, the symbols scattered over the first `steps` tokens (Gu & Dao 2023).

    T = steps + 10 tokens: blanks and ten symbols in any places, then ten requests.

    Args:
        rng: source of randomness.
        count: B.
        steps: at least 10.
    """
    _check("selective_copying", steps, COPIED)
    symbols = rng.integers(1, SYMBOLS, (count, COPIED), endpoint=True).astype(np.int32)
    x = np.zeros((count, steps + COPIED), np.int32)
    y = np.zeros_like(x)
    places = np.sort(np.argsort(rng.random((count, steps)), axis=1)[:, :COPIED], axis=1)
    np.put_along_axis(x, places, symbols, axis=1)
    x[:, steps:], y[:, steps:] = SYMBOLS + 1, symbols
    return Batch(x, y)


def recall(rng: np.random.Generator, count: int, steps: int) -> Batch:
    """A bit at the first step, +1 or -1, and noise after it; the bit (B,) is the target at the last step.

    Rows (B, steps + 1, 2): the bit and noise of deviation 0.3, in features of their own. The lag is `steps`.
    """
    _check("recall", steps, 1)
    answer = rng.integers(0, 2, count).astype(np.int32)
    x = np.zeros((count, steps + 1, 2), np.float32)
    x[:, 0, 0] = 2 * answer - 1
    x[..., 1] = 0.3 * rng.normal(size=(count, steps + 1))
    return Batch(x, answer)


def _check(name: str, steps: int, least: int) -> None:
    if steps < least:
        raise DataError(f"{name}: expected at least {least} steps; received {steps}")


# What the builder `memory_problems` and the papers know by name.
PROBLEMS: dict[str, Callable[[np.random.Generator, int, int], Batch]] = {
    "adding": adding,
    "temporal_order": temporal_order,
    "copying": copying,
    "selective_copying": selective_copying,
    "recall": recall,
}
