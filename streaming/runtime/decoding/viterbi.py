"""The best path through a linear chain: scores of each step's labels, and of each pair of neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.carried import Carrier


@dataclass(frozen=True)
class Chain:
    """Scores of a linear chain with K labels; a forbidden one is -inf.

    Args:
        transitions: (K, K), of label j after label i at [i, j].
        start: (K,), of the first label; zeros where None.
        end: (K,), of the last label; zeros where None.

    Raises:
        InputError: the shapes do not agree, or a score is NaN or +inf.
    """

    transitions: NDArray[Any]
    start: NDArray[Any] | None = None
    end: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        size = len(self.transitions) if np.ndim(self.transitions) else 0
        for name, shape in (("transitions", (size, size)), ("start", (size,)), ("end", (size,))):
            value = getattr(self, name)
            array = np.zeros(shape) if value is None else np.asarray(value, np.float64)
            if not size or array.shape != shape or not (array < np.inf).all():
                raise InputError(
                    f"{name} of a chain has shape {array.shape} or holds NaN or infinity; expected {shape or '(K, K)'} "
                    "of finite scores, or -inf"
                )
            object.__setattr__(self, name, array)


class ViterbiStream(Carrier):
    """Viterbi's algorithm (1967) on rows that come one after the other.

    A label is given as soon as all paths that are still possible agree on it, and at the latest `delay` rows later.
    Then the best path so far decides, and paths that disagree are dropped. So the labels always form one path; without
    a bound, it is the best one.

    Args:
        chain: its scores.
        delay: most rows between a row and its label; None waits as long as paths disagree.

    Raises:
        InputError: the delay is negative.
    """

    carries = ("_scores", "_paths")

    def __init__(self, chain: Chain, delay: int | None = None):
        if delay is not None and delay < 0:
            raise InputError(f"delay is {delay}, expected 0 rows or more, or None")
        self._chain, self._delay = chain, delay
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        self._scores: NDArray[Any] | None = None
        # The labels of each path that survives, by the label that it ends in, since the last one that was given.
        self._paths = np.zeros((len(self._chain.transitions), 0), np.intp)

    def feed(self, rows: NDArray[Any]) -> list[int]:
        """The labels that are decided after rows of scores (T, K).

        Raises:
            InputError: the rows have another shape or hold NaN, or no path is possible.
        """
        size = len(self._paths)
        rows = np.asarray(rows, np.float64)
        if rows.ndim != 2 or rows.shape[1] != size or np.isnan(rows).any():
            raise InputError(f"scores have shape {rows.shape} or hold NaN, expected (rows, {size})")
        before = self._scores, self._paths
        try:
            return [label for row in rows for label in self._advance(row)]
        except InputError:
            self._scores, self._paths = before
            raise

    def finish(self) -> list[int]:
        """The labels of the rows that are left; the end scores decide, unless they forbid all paths that survive."""
        if self._scores is None:
            return []
        ends = self._scores + self._chain.end
        last = int(np.argmax(ends if ends.max() > -np.inf else self._scores))
        labels = self._paths[last].tolist()
        self.reset()
        return labels

    def _advance(self, row: NDArray[Any]) -> list[int]:
        labels = np.arange(len(row))
        if self._scores is None:
            self._scores = self._chain.start + row
            self._paths = labels[:, None]
        else:
            reached = self._scores[:, None] + self._chain.transitions
            parents = np.argmax(reached, axis=0)
            self._scores = reached[parents, labels] + row
            self._paths = np.concatenate([self._paths[parents], labels[:, None]], axis=1)
        top = self._scores.max()
        if top == -np.inf:
            raise InputError("no sequence of labels is possible: every score is -inf; check the chain's scores")
        # Only differences count: without this the scores of an endless stream would lose their digits.
        self._scores = self._scores - top
        return self._settled(self._scores)

    def _settled(self, scores: NDArray[Any]) -> list[int]:
        known = self._paths[scores > -np.inf]
        agreed = np.cumprod((known == known[0]).all(axis=0)).sum()
        labels = known[0, :agreed].tolist()
        if self._delay is not None and known.shape[1] - agreed > self._delay:
            best = self._paths[int(np.argmax(scores))]
            until = known.shape[1] - self._delay
            self._scores = np.where((self._paths[:, :until] == best[:until]).all(axis=1), scores, -np.inf)
            labels = best[:until].tolist()
        self._paths = self._paths[:, len(labels) :]
        return labels


def viterbi(rows: NDArray[Any], chain: Chain) -> tuple[NDArray[Any], float]:
    """The best labels (T,) of rows of scores (T, K), and their score: that of the rows, the chain, start and end.

    Raises:
        InputError: as `ViterbiStream.feed`.
    """
    stream = ViterbiStream(chain)
    path = np.array([*stream.feed(rows), *stream.finish()], np.intp)
    if not len(path):
        return path, 0.0
    rows = np.asarray(rows, np.float64)
    ends = chain.start[path[0]] + chain.end[path[-1]]  # type: ignore[index]
    return path, float(rows[np.arange(len(path)), path].sum() + chain.transitions[path[:-1], path[1:]].sum() + ends)
