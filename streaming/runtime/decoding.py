"""Generation outside the graph: a stream takes a token and gives the logits of the next; this chooses among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from streaming.errors import InputError
from streaming.runtime.stream import Stream


@dataclass(frozen=True)
class Hypothesis:
    """Tokens after the start token, without the end token; `log_probability` counts the end token where it came."""

    tokens: tuple[int, ...]
    log_probability: float
    ended: bool

    def score(self, length_penalty: float) -> float:
        """Log probability over ((5 + length) / 6) ** length_penalty (Wu et al. 2016, GNMT)."""
        return self.log_probability / ((5 + len(self.tokens) + self.ended) / 6) ** length_penalty


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def greedy(stream: Stream, start: int, end: int, max_steps: int) -> Hypothesis:
    """The most probable token at each step, until the end token or `max_steps` tokens.

    Args:
        stream: takes one integer a step, (1,) -> (1, tokens), and has seen its source where it has one. It moves.
        start: token that begins a sequence.
        end: token that ends it.
        max_steps: most tokens to generate.

    Raises:
        InputError: the model's steps are of another kind, or an argument is out of range.
    """
    _check(stream, start, end, max_steps)
    tokens: list[int] = []
    total, token = 0.0, start
    for _ in range(max_steps):
        row = log_softmax(_step(stream, token))
        token = int(np.argmax(row))
        total += float(row[token])
        if token == end:
            return Hypothesis(tuple(tokens), total, True)
        tokens.append(token)
    return Hypothesis(tuple(tokens), total, False)


def beam_search(
    stream: Stream,
    start: int,
    end: int,
    max_steps: int,
    *,
    width: int = 5,
    length_penalty: float = 1.0,
    n_best: int = 1,
) -> list[Hypothesis]:
    """The best sequences among those that stay in a beam of `width`, best first (Graves 2012; Sutskever et al. 2014).

    The hypotheses are forks of the stream, stepped together; the stream itself does not move.

    Args:
        stream, start, end, max_steps: as for `greedy`.
        width: hypotheses that are kept at each step.
        length_penalty: 0 prefers short sequences, 1 normalizes fully (GNMT's alpha).
        n_best: how many to return, at most `width`.

    Raises:
        InputError: as `greedy`.
    """
    _check(stream, start, end, max_steps)
    if width < 1 or not 1 <= n_best <= width:
        raise InputError(f"width is {width} and n_best {n_best}, expected 1 <= n_best <= width")
    beam = [(Hypothesis((), 0.0, False), stream.fork(), start)]
    done: list[Hypothesis] = []
    for _ in range(max_steps):
        inputs = [np.array([token], stream.model.metadata.inputs[0].dtype) for _, _, token in beam]
        rows = stream.model.step_streams([state for _, state, _ in beam], inputs)
        found = np.stack([h.log_probability + log_softmax(row[0]) for (h, _, _), row in zip(beam, rows, strict=True)])
        size = found.shape[1]
        following: list[tuple[Hypothesis, Stream, int]] = []
        for place in np.argsort(-found, axis=None, kind="stable")[: 2 * width]:
            parent, token = divmod(int(place), size)
            before, state, _ = beam[parent]
            total = float(found[parent, token])
            if token == end:
                done.append(Hypothesis(before.tokens, total, True))
            elif len(following) < width:
                following.append((Hypothesis((*before.tokens, token), total, False), state.fork(), token))
        beam = following
        best = sorted((h.score(length_penalty) for h in done), reverse=True)
        # No sequence still in the beam can overtake: its log probability only falls, its penalty is at most the last.
        limit = max(h.log_probability for h, _, _ in beam) / ((5 + max_steps) / 6) ** length_penalty
        if len(best) >= n_best and best[n_best - 1] >= limit:
            break
    done += [h for h, _, _ in beam]
    return sorted(done, key=lambda h: -h.score(length_penalty))[:n_best]


def _step(stream: Stream, token: int) -> Any:
    return stream.step(np.array([token], stream.model.metadata.inputs[0].dtype))[0]


def _check(stream: Stream, start: int, end: int, max_steps: int) -> None:
    meta = stream.model.metadata
    one = len(meta.inputs) == len(meta.outputs) == meta.chunk == 1 and not meta.delay
    if not one or meta.inputs[0].shape or not meta.inputs[0].dtype.startswith("int") or len(meta.outputs[0].shape) != 1:
        raise InputError(
            "the model does not take one integer token a step and give one row of logits; convert it with chunk=None"
        )
    size = meta.outputs[0].shape[0]
    if not 0 <= end < size or start < 0 or max_steps < 1:
        raise InputError(
            f"start is {start}, end {end} and max_steps {max_steps}, expected tokens below {size} and a step or more"
        )
