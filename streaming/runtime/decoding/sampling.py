"""Sequences drawn at random from a model, reproducibly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.decoding.scores import Hypothesis, log_softmax
from streaming.runtime.decoding.steps import Decoder, check_tokens, decoders
from streaming.runtime.stream import Stream


@dataclass(frozen=True)
class Sampling:
    """Which tokens may follow, and how likely each is.

    Args:
        temperature: divides the logits; 0 takes the most probable token.
        top_k: only the k most probable tokens; 0 for all (Fan et al. 2018).
        top_p: only the fewest tokens whose probabilities reach p together (nucleus sampling, Holtzman et al. 2020).
        banned: tokens that never follow.

    Raises:
        InputError: an argument is out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    banned: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not (0 <= self.temperature < float("inf")) or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise InputError(
                f"temperature is {self.temperature}, top_k {self.top_k} and top_p {self.top_p}; expected 0 or more, "
                "0 or more, and more than 0 up to 1"
            )

    def probabilities(self, logits: NDArray[Any]) -> NDArray[Any]:
        """The distribution that is drawn from, (tokens,) of float64, of the logits (tokens,)."""
        scores = np.array(logits, np.float64)
        scores[list(self.banned)] = -np.inf
        order = np.argsort(-scores, kind="stable")
        ranked = np.exp((scores[order] - scores[order[0]]) / (self.temperature or 1.0))
        keep = len(ranked) if not self.top_k else self.top_k
        ranked[1 if self.temperature == 0 else keep :] = 0
        ranked /= ranked.sum()
        # A token stays where those before it do not reach p yet; 1 never cuts, whatever the rounding.
        if self.top_p < 1:
            ranked[np.concatenate([[0.0], np.cumsum(ranked)[:-1]]) >= self.top_p] = 0
        distribution = np.zeros(len(ranked))
        distribution[order] = ranked / ranked.sum()
        return distribution

    def draw(self, logits: NDArray[Any], generator: np.random.Generator) -> int:
        """A token of that distribution."""
        cumulative = np.cumsum(self.probabilities(logits))
        # Scaled by the total, so that rounding cannot leave the last token out or let a draw fall beyond it.
        return int(np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right"))


def generate(
    source: Stream | Decoder, start: int, sampling: Sampling, seed: int | np.random.Generator
) -> Iterator[tuple[int, float]]:
    """An endless iterator of drawn tokens, each with its log probability under the model.

    Args:
        source: as for `greedy`; a stream moves.
        start: the first token, or the last token of a prompt whose other tokens the stream has seen.
        sampling: the distribution to draw from.
        seed: the same seed gives the same tokens.
    """
    step, states = decoders([source], fork=False)
    generator, token = np.random.default_rng(seed), start
    while True:
        logits, states = step(states, np.array([token]))
        token = sampling.draw(logits[0], generator)
        yield token, float(log_softmax(logits[0].astype(np.float64))[token])


def sample(
    source: Stream | Decoder,
    start: int,
    end: int,
    max_steps: int,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    banned: Sequence[int] = (),
) -> Hypothesis:
    """A sequence drawn at random, until the end token or `max_steps` tokens.

    Args:
        source, start, end, max_steps: as for `greedy`.
        temperature, top_k, top_p, banned: as for `Sampling`.
        seed: the same seed gives the same sequence.

    Raises:
        InputError: the model's steps are of another kind, or an argument is out of range.
    """
    check_tokens(source, start, end, max_steps)
    chosen = Sampling(temperature, top_k, top_p, tuple(banned))
    tokens: list[int] = []
    total = 0.0
    for (token, score), _ in zip(generate(source, start, chosen, seed), range(max_steps), strict=False):
        total += score
        if token == end:
            return Hypothesis(tuple(tokens), total, True)
        tokens.append(token)
    return Hypothesis(tuple(tokens), total, False)
