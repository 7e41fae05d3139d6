"""Decoders of connectionist temporal classification (Graves et al. 2006), row by row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.carried import Carrier
from streaming.runtime.decoding.scores import Hypothesis, log_softmax


class Spike(NamedTuple):
    """A token, and the first row at which it was the most probable one."""

    token: int
    row: int


class CTCGreedy(Carrier):
    """Decodes the most probable alignment: merges repeats and drops blanks. A token is final as soon as it is given.

    Args:
        blank: its number.
    """

    carries = ("_last", "_row")

    def __init__(self, blank: int):
        self._blank = blank
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        self._last, self._row = self._blank, 0

    def feed(self, logits: NDArray[Any]) -> list[Spike]:
        """The tokens that rows (T, tokens) add.

        Raises:
            InputError: the rows have another shape, or no column for the blank.
        """
        _check(logits, self._blank)
        spikes = []
        for token in map(int, np.argmax(logits, axis=-1)):
            if token not in (self._blank, self._last):
                spikes.append(Spike(token, self._row))
            self._last, self._row = token, self._row + 1
        return spikes


class CTCBeam(Carrier):
    """Prefix beam search: the probability of a text is the sum over its alignments (Graves 2008; Hannun et al. 2014).

    Args:
        blank: its number.
        width: texts that are kept after each row.

    Raises:
        InputError: the width is less than 1.
    """

    carries = ("_prefixes", "_blank_end", "_token_end")

    def __init__(self, blank: int, width: int = 16):
        if width < 1:
            raise InputError(f"width is {width}, expected 1 or more")
        self._blank, self._width = blank, width
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        self._prefixes: list[tuple[int, ...]] = [()]
        # Log probability of each text with an alignment so far that ends in a blank, and of one that does not.
        self._blank_end, self._token_end = np.zeros(1), np.full(1, -np.inf)

    def feed(self, logits: NDArray[Any]) -> None:
        """Take rows (T, tokens).

        Raises:
            InputError: the rows have another shape, or no column for the blank.
        """
        _check(logits, self._blank)
        for row in log_softmax(logits.astype(np.float64)):
            self._advance(row)

    def best(self, n_best: int = 1) -> list[Hypothesis]:
        """The most probable texts so far, best first."""
        totals = np.logaddexp(self._blank_end, self._token_end)
        places = np.argsort(-totals, kind="stable")[:n_best]
        return [Hypothesis(self._prefixes[i], float(totals[i]), True) for i in places]

    def _advance(self, row: NDArray[Any]) -> None:
        prefixes, blank = self._prefixes, self._blank
        count, size = len(prefixes), len(row)
        totals = np.logaddexp(self._blank_end, self._token_end)
        last = np.array([prefix[-1] if prefix else blank for prefix in prefixes])
        stays_blank = totals + row[blank]
        stays_token = np.where([bool(prefix) for prefix in prefixes], self._token_end + row[last], -np.inf)
        longer = totals[:, None] + row
        # A repeated token is a second one only after a blank.
        longer[np.arange(count), last] = self._blank_end + row[last]
        longer[:, blank] = -np.inf
        places = {prefix: i for i, prefix in enumerate(prefixes)}
        for i, prefix in enumerate(prefixes):
            parent = places.get(prefix[:-1]) if prefix else None
            if parent is not None:
                stays_token[i] = np.logaddexp(stays_token[i], longer[parent, prefix[-1]])
                longer[parent, prefix[-1]] = -np.inf
        self._keep(stays_blank, stays_token, longer.reshape(count * size), size)

    def _keep(self, stays_blank: NDArray[Any], stays_token: NDArray[Any], longer: NDArray[Any], size: int) -> None:
        count = len(stays_blank)
        totals = np.concatenate([np.logaddexp(stays_blank, stays_token), longer])
        kept = np.argpartition(-totals, self._width)[: self._width] if self._width < len(totals) else range(len(totals))
        chosen = [int(i) for i in kept if totals[i] > -np.inf]
        blanks = np.concatenate([stays_blank, np.full(len(longer), -np.inf)])
        tokens = np.concatenate([stays_token, longer])
        before = self._prefixes
        self._prefixes = [
            before[i] if i < count else (*before[(i - count) // size], (i - count) % size) for i in chosen
        ]
        self._blank_end, self._token_end = blanks[chosen], tokens[chosen]


def ctc_greedy(logits: NDArray[Any], blank: int) -> tuple[int, ...]:
    """The tokens of the most probable alignment of rows (T, tokens); raises as `CTCGreedy.feed`."""
    return tuple(spike.token for spike in CTCGreedy(blank).feed(logits))


def ctc_beam(logits: NDArray[Any], blank: int, *, width: int = 16, n_best: int = 1) -> list[Hypothesis]:
    """The most probable texts of rows (T, tokens), best first; raises as `CTCBeam`."""
    beam = CTCBeam(blank, width)
    beam.feed(logits)
    return beam.best(n_best)


def _check(logits: NDArray[Any], blank: int) -> None:
    if logits.ndim != 2 or not 0 <= blank < logits.shape[1]:
        raise InputError(f"logits have shape {logits.shape}, expected (rows, tokens) with the blank {blank} among them")
