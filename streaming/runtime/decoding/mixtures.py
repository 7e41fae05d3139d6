"""Mixture densities of movements of a pen, and what is drawn from them (Bishop 1994; Graves 2013)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.runtime.decoding.scores import log_softmax

# What the pen does after a point: it draws on, is lifted, or is lifted for good.
PEN_DOWN, PEN_UP, PEN_END = range(3)
PENS = 3
# Numbers of a component: its weight, two means, two deviations and a correlation.
PARAMETERS = 6
# No component is thinner than this leaves it, however its two directions go together.
MAX_CORRELATION = 0.95


class Movement(NamedTuple):
    """A movement of the pen in the units of the model, what the pen does then, and the log density of both."""

    dx: float
    dy: float
    pen: int
    score: float


class PenMixture(NamedTuple):
    """Mixtures of M normal distributions of (dx, dy), and the log probabilities of what the pen does after it.

    Shapes: weights (..., M) as logarithms, means (..., M, 2), deviations (..., M, 2), correlations (..., M), pens
    (..., 3) as logarithms.
    """

    weights: NDArray[Any]
    means: NDArray[Any]
    deviations: NDArray[Any]
    correlations: NDArray[Any]
    pens: NDArray[Any]

    @classmethod
    def read(cls, outputs: NDArray[Any], floor: float) -> PenMixture:
        """The mixtures in outputs (..., 6 M + 3) of a model.

        Args:
            outputs: for each component the logit of its weight, two means, the logarithms of two deviations, and z with
                0.95 tanh z as correlation; after them three logits of the pen.
            floor: added to every deviation.
        """
        values = np.asarray(outputs, np.float64)
        parts = values[..., :-PENS].reshape(*values.shape[:-1], -1, PARAMETERS)
        return cls(
            log_softmax(parts[..., 0]),
            parts[..., 1:3],
            floor + np.exp(np.clip(parts[..., 3:5], -20, 20)),
            MAX_CORRELATION * np.tanh(parts[..., 5]),
            log_softmax(values[..., -PENS:]),
        )

    def log_density(self, moves: NDArray[Any]) -> NDArray[Any]:
        """Log density (...) of movements (..., 2), in units of the model.

        log sum_m w_m N2(move; mean_m, deviation_m, correlation_m)   (Graves 2013, equations 24 to 25)
        """
        z = (moves[..., None, :] - self.means) / self.deviations
        rest = 1 - self.correlations**2
        square = (z**2).sum(axis=-1) - 2 * self.correlations * z.prod(axis=-1)
        scale = np.log(2 * np.pi) + np.log(self.deviations).sum(axis=-1) + 0.5 * np.log(rest)
        logs = self.weights - square / (2 * rest) - scale
        peak = logs.max(axis=-1)
        return np.asarray(peak + np.log(np.exp(logs - peak[..., None]).sum(axis=-1)))

    def draw(self, generator: np.random.Generator, temperature: float = 1.0) -> Movement:
        """A movement drawn from one mixture.

        Args:
            generator: of random numbers; the same one gives the same movement.
            temperature: divides the logits and multiplies the variances (Ha and Eck 2018); 0 takes the mean of the
                component with the largest weight, and the most probable pen.
        """
        component, pen = (_drawn(logs, generator, temperature) for logs in (self.weights, self.pens))
        normal = generator.standard_normal(2)
        rho = self.correlations[component]
        spread = np.array([normal[0], rho * normal[0] + np.sqrt(1 - rho**2) * normal[1]])
        move = self.means[component] + np.sqrt(temperature) * self.deviations[component] * spread
        score = float(self.log_density(move) + self.pens[pen])
        return Movement(float(move[0]), float(move[1]), pen, score)


def _drawn(logs: NDArray[Any], generator: np.random.Generator, temperature: float) -> int:
    number = generator.random()
    if not temperature:
        return int(np.argmax(logs))
    cumulative = np.cumsum(np.exp((logs - logs.max()) / temperature))
    return int(np.searchsorted(cumulative, number * cumulative[-1], side="right"))
