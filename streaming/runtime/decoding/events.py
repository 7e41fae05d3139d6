"""The rule by which smoothed probabilities of labels become events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.carried import Carrier

# More than sums of probabilities differ by the order of their terms.
_ROUNDING = 1e-5


class EventRule(Carrier):
    """Turns rows of smoothed probabilities into events, label by label.

    A keyword *leads* where it is the most probable of the keywords and more probable than all background together;
    where each label has a sigmoid of its own, where its probability is at least one half (or the threshold, if that is
    lower). Its *episode* begins where it leads, and ends where it has not led for `rest` rows. The first row of an
    episode in which the keyword leads with a probability of at least the threshold is an event; an episode has at most
    one.

    Labels do not affect each other: an event never suppresses one of another label. Episodes do not depend on the
    threshold (for sigmoids, if it is at least one half). A higher threshold therefore gives the same events as a lower
    one, later or not at all, and no others, so that recall does not rise with it.

    Args:
        keywords: numbers of the labels that can be events.
        background: numbers of those that cannot.
        threshold: probability of an event; it may be changed from row to row.
        rest: a label begins a new episode after so many rows in which it does not lead; 0 means 1.
        multi_label: each label has a probability of its own.

    Raises:
        InputError: a label is keyword and background at once, or a value is out of its range.
    """

    carries = ("_absent", "_fired")

    def __init__(
        self,
        keywords: Sequence[int],
        background: Sequence[int],
        threshold: float,
        rest: int,
        *,
        multi_label: bool = False,
    ):
        if set(keywords) & set(background) or not 0 < threshold < 1 or rest < 0:
            raise InputError(
                f"events of labels {list(keywords)} with background {list(background)}, threshold {threshold} and "
                f"{rest} rows of rest: expected other labels in both, a probability, and 0 or more"
            )
        self.keywords, self.rest = tuple(keywords), max(1, rest)
        self._keywords, self._background = np.array(keywords, int), np.array(background, int)
        self.threshold, self._several = threshold, multi_label
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        count = len(self._keywords)
        # Rows since a keyword led last, and whether its episode has had its event.
        self._absent = np.full(count, self.rest, np.int64)
        self._fired = np.zeros(count, bool)

    def leads(self, smooth: NDArray[Any]) -> NDArray[Any]:
        """Which keywords lead in a row of probabilities (labels,), (keywords,) of bool."""
        own = smooth[self._keywords]
        if self._several:
            return own >= min(0.5, self.threshold)
        leading = np.zeros(len(own), bool)
        if len(own):
            best = int(np.argmax(own))
            leading[best] = own[best] > smooth[self._background].sum()
        return leading

    def feed_rows(self, smooth: NDArray[Any]) -> list[tuple[int, int]]:
        """`feed` of rows (T, labels), one after the other: the row and the label of each event, in order."""
        if not self._may_lead(smooth):
            self._absent = np.minimum(self._absent + len(smooth), self.rest)
            return []
        return [(index, label) for index, row in enumerate(smooth) for label in self.feed(row)]

    def _may_lead(self, smooth: NDArray[Any]) -> bool:
        """Whether a keyword may lead in one of the rows; False is certain."""
        own = smooth[:, self._keywords]
        if self._several:
            return bool((own >= min(0.5, self.threshold)).any())
        if not own.size:
            return False
        return bool((own.max(axis=1) > smooth[:, self._background].sum(axis=1) - _ROUNDING).any())

    def feed(self, smooth: NDArray[Any]) -> list[int]:
        """The labels that a row of smoothed probabilities (labels,) makes events; the most probable first."""
        leads = self.leads(smooth)
        self._fired &= ~(leads & (self._absent >= self.rest))
        self._absent = np.where(leads, 0, np.minimum(self._absent + 1, self.rest))
        events = leads & ~self._fired & (smooth[self._keywords] >= self.threshold)
        self._fired |= events
        return sorted(self._keywords[events].tolist(), key=lambda label: -smooth[label])
