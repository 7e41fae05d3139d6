"""Densities of the frames of a sound, and what is drawn from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class FrameDensity(NamedTuple):
    """Normal distributions of the next R frames of M features, each feature by itself, and whether the sound ends.

    Shapes: means (..., R, M), deviations (..., R, M), stop (...), the probability that these frames are the last.
    """

    means: NDArray[Any]
    deviations: NDArray[Any]
    stop: NDArray[Any]

    @classmethod
    def read(cls, outputs: NDArray[Any], frames: int, floor: float) -> FrameDensity:
        """The densities in outputs (..., 2 R M + 1) of a model.

        Args:
            outputs: R M means, R M logarithms of deviations, and the logit of the end.
            frames: R.
            floor: added to every deviation.
        """
        values = np.asarray(outputs, np.float64)
        shape = (*values.shape[:-1], 2, frames, -1)
        parts = values[..., :-1].reshape(shape)
        stop = 1 / (1 + np.exp(-np.clip(values[..., -1], -500, 500)))
        return cls(parts[..., 0, :, :], floor + np.exp(np.clip(parts[..., 1, :, :], -20, 20)), stop)

    def log_density(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Log density (...) of frames (..., R, M): the sum over both axes."""
        z = (frames - self.means) / self.deviations
        logs = -0.5 * z**2 - np.log(self.deviations) - 0.5 * np.log(2 * np.pi)
        return np.asarray(logs.sum(axis=(-2, -1)))

    def draw(self, generator: np.random.Generator, temperature: float = 1.0) -> NDArray[Any]:
        """Frames (R, M) drawn from one density; the temperature multiplies the variances, 0 gives the means."""
        return np.asarray(
            self.means + np.sqrt(temperature) * self.deviations * generator.standard_normal(self.means.shape)
        )

    @property
    def ends(self) -> bool:
        """Whether the sound of one density is more likely to end than to go on."""
        return bool(self.stop > 0.5)
