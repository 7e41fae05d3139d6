"""The most probable sequences of a model that gives the logits of the next token: greedy, and beam search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.decoding.scores import Hypothesis, log_softmax
from streaming.runtime.decoding.steps import Decoder, check_tokens, decoders
from streaming.runtime.stream import Stream


def greedy(source: Stream | Decoder, start: int, end: int, max_steps: int, *, banned: Sequence[int] = ()) -> Hypothesis:
    """The most probable token at each step, until the end token or `max_steps` tokens.

    Args:
        source: a stream that takes one integer a step, (1,) -> (1, tokens), and has seen its source where it has
            one; it moves. Or any model, as a `Decoder`.
        start: token that begins a sequence.
        end: token that ends it.
        max_steps: most tokens to generate.
        banned: tokens that are never chosen.

    Raises:
        InputError: the model's steps are of another kind, or an argument is out of range.
    """
    step, states = decoders([source], fork=False)
    check_tokens(source, start, end, max_steps)
    tokens: list[int] = []
    total, token = 0.0, start
    for _ in range(max_steps):
        logits, states = step(states, np.array([token]))
        row = _allowed(log_softmax(logits), banned)[0]
        token = int(np.argmax(row))
        total += float(row[token])
        if token == end:
            return Hypothesis(tuple(tokens), total, True)
        tokens.append(token)
    return Hypothesis(tuple(tokens), total, False)


def beam_search(
    source: Stream | Decoder,
    start: int,
    end: int,
    max_steps: int,
    *,
    width: int = 5,
    length_penalty: float = 1.0,
    n_best: int = 1,
    banned: Sequence[int] = (),
) -> list[Hypothesis]:
    """The best sequences among those that stay in a beam of `width`, best first (Graves 2012; Sutskever et al. 2014).

    The hypotheses are forks of the stream, stepped together; the stream itself does not move.

    Args:
        source, start, end, max_steps, banned: as for `greedy`.
        width: hypotheses that are kept at each step.
        length_penalty: 0 prefers short sequences, 1 normalizes fully (GNMT's alpha).
        n_best: how many to return, at most `width`.

    Raises:
        InputError: as `greedy`.
    """
    return beam_searches(
        [source], start, end, max_steps, width=width, length_penalty=length_penalty, n_best=n_best, banned=banned
    )[0]


def beam_searches(
    sources: Sequence[Stream | Decoder],
    start: int,
    end: int,
    max_steps: int,
    *,
    width: int = 5,
    length_penalty: float = 1.0,
    n_best: int = 1,
    banned: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """`beam_search` of several sequences at once, all beams in the same invokes.

    Args:
        sources: streams of one model, or decoders with one step function; else as for `beam_search`.

    Raises:
        InputError: as `beam_search`.
    """
    if width < 1 or not 1 <= n_best <= width:
        raise InputError(f"width is {width} and n_best {n_best}, expected 1 <= n_best <= width")
    if not sources:
        return []
    step, states = decoders(sources, fork=True)
    check_tokens(sources[0], start, end, max_steps)
    beams = [_Beam(state, start, end, max_steps, width, length_penalty, n_best) for state in states]
    for _ in range(max_steps):
        live = [beam for beam in beams if beam.live]
        if not live:
            break
        tokens = np.array([token for beam in live for token in beam.tokens])
        logits, following = step([state for beam in live for state in beam.states], tokens)
        scores, begin = _allowed(log_softmax(logits), banned), 0
        for beam in live:
            rows = slice(begin, begin + len(beam.tokens))
            beam.advance(scores[rows], following[rows])
            begin = rows.stop
    return [beam.best() for beam in beams]


def _allowed(rows: NDArray[Any], banned: Iterable[int]) -> NDArray[Any]:
    columns = list(banned)
    if columns:
        rows = rows.copy()
        rows[:, columns] = -np.inf
    return rows


class _Beam:
    """The search for one sequence: hypotheses that grow, their states and last tokens; and those that have ended."""

    def __init__(self, state: Any, start: int, end: int, max_steps: int, width: int, penalty: float, n_best: int):
        self._end, self._width, self._penalty, self._n_best = end, width, penalty, n_best
        self._longest = ((5 + max_steps) / 6) ** penalty
        self.states, self.tokens = [state], [start]
        self._growing, self._done = [Hypothesis((), 0.0, False)], list[Hypothesis]()
        self.live = True

    def advance(self, scores: NDArray[Any], states: Sequence[Any]) -> None:
        """Take the log probabilities (N, tokens) of what follows each of the N hypotheses."""
        totals = np.array([[hypothesis.log_probability] for hypothesis in self._growing]) + scores
        growing: list[tuple[Hypothesis, Any, int]] = []
        for place in _largest(totals, 2 * self._width):
            parent, token = divmod(place, scores.shape[1])
            before, total = self._growing[parent].tokens, float(totals[parent, token])
            if token == self._end:
                self._done.append(Hypothesis(before, total, True))
            elif len(growing) < self._width:
                growing.append((Hypothesis((*before, token), total, False), states[parent], token))
        self._growing = [hypothesis for hypothesis, _, _ in growing]
        self.states, self.tokens = [state for _, state, _ in growing], [token for _, _, token in growing]
        self.live = bool(growing) and not self._settled()

    def best(self) -> list[Hypothesis]:
        """The best, those that have not ended among them."""
        hypotheses = [*self._done, *self._growing]
        return sorted(hypotheses, key=lambda h: -h.score(self._penalty))[: self._n_best]

    def _settled(self) -> bool:
        # No sequence still growing can overtake: its log probability only falls, its penalty is at most the last.
        scores = sorted((h.score(self._penalty) for h in self._done), reverse=True)
        limit = max(h.log_probability for h in self._growing) / self._longest
        return len(scores) >= self._n_best and scores[self._n_best - 1] >= limit


def _largest(totals: NDArray[Any], count: int) -> list[int]:
    """Places of the largest finite totals, the largest first, ties in order."""
    flat, width = totals.ravel(), 64
    places = np.arange(len(flat))
    if len(flat) >= count * width:
        # The count-th largest of the maxima of some blocks is a bound that few exceed: much faster than a partition.
        maxima = flat[: len(flat) // width * width].reshape(-1, width).max(axis=1)
        places = np.flatnonzero(flat >= np.partition(maxima, -count)[-count])
    places = places[np.argsort(-flat[places], kind="stable")][:count]
    return [int(place) for place in places if flat[place] > -np.inf]
