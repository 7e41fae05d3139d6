"""A Markov chain over movements of a pen: the classical method beside a sketcher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streaming.runtime.decoding.mixtures import PENS

if TYPE_CHECKING:
    from rnnzoo.data.batching import Arrays

# Directions of the last movement that are told apart, components of each mixture.
_DIRECTIONS, _COMPONENTS = 8, 8


class MovementChain:
    """The next movement by the direction of the last one and whether the pen was lifted after it.

    Each of these states has a mixture of normal distributions, fitted by expectation maximization, and shares of what
    the pen does then.

    Args:
        drawings: rows and targets of the training split, as `SketcherTask.encode` makes them.
        floor: the least deviation of a component.
    """

    name = "Markov chain of mixtures"

    def __init__(self, drawings: Sequence[Arrays], floor: float):
        from sklearn.mixture import GaussianMixture

        states = np.concatenate([self._states(drawing["rows"]) for drawing in drawings])
        targets = np.concatenate([drawing["targets"] for drawing in drawings]).astype(np.float64)
        self._mixtures, self._pens = {}, np.zeros((2 * _DIRECTIONS, PENS))
        for state in np.unique(states):
            held = targets[states == state]
            components = min(_COMPONENTS, len(held))
            mixture = GaussianMixture(components, reg_covar=floor**2, random_state=0, max_iter=300)
            self._mixtures[int(state)] = mixture.fit(held[:, :2])
        for state in range(2 * _DIRECTIONS):
            counts = 1 + np.bincount(targets[states == state, 2].astype(int), minlength=PENS)
            self._pens[state] = np.log(counts / counts.sum())
        self.numbers = self._pens.size + 6 * sum(mixture.n_components for mixture in self._mixtures.values())

    def log_densities(self, drawing: Arrays) -> NDArray[Any]:
        """Of each point of a drawing, (T, 2): of its movement and of the pen."""
        states, targets = self._states(drawing["rows"]), drawing["targets"].astype(np.float64)
        scores = np.zeros((len(targets), 2))
        for i, (state, target) in enumerate(zip(states, targets, strict=True)):
            # A state that no drawing of the training split had takes the mixture of the nearest that one had.
            known = min(self._mixtures, key=lambda other: abs(other - state))
            scores[i, 0] = self._mixtures[known].score_samples(target[None, :2])[0]
            scores[i, 1] = self._pens[state, int(target[2])]
        return scores

    @staticmethod
    def _states(rows: NDArray[Any]) -> NDArray[Any]:
        angle = np.arctan2(rows[:, 1], rows[:, 0]) / (2 * np.pi)
        return (np.round(angle * _DIRECTIONS).astype(int) % _DIRECTIONS) * 2 + (rows[:, 2] > 0)
