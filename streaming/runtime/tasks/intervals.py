"""Intervals of forecasts whose widths follow the errors: adaptive conformal inference on the device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streaming.runtime.carried import Carrier
from streaming.runtime.tasks.schema import IntervalsSpec

# Of the logarithm of a factor of widths, so that a value that cannot be reached does not make it infinite.
_MOST = 5.0


class AdaptiveIntervals(Carrier):
    """Widens and narrows the quantiles of forecasts, so that the outer ones hold a given share of the values.

    For each row ahead h and target j a number theta, 0 at first. Of the quantiles q of a forecast, m being the middle
    one, m + exp(theta) (q - m) are given. When row n + h has come, the forecast after row n has an error of 1 if the
    value was below the lowest or above the highest quantile given for it, else of 0, and

        theta <- theta + rate (error - (1 - coverage)), between -5 and 5.

    This is the update of Gibbs & Candes (2021) in the form of Angelopoulos, Candes & Tibshirani (2023), which moves the
    bound of a score instead of its level; the score is the logarithm of the distance from the middle in units of the
    model's own. A missing value changes nothing.

    Args:
        spec: coverage and rate.
        shape: rows ahead H, targets D and quantiles Q.
        middle: which quantile stays.
    """

    carries = ("_thetas", "_bounds", "_row")

    def __init__(self, spec: IntervalsSpec, shape: tuple[int, int, int], middle: int):
        self._spec, self._shape, self._middle = spec, shape, middle
        self.begin()

    def begin(self) -> None:
        """Forget the series: the next row begins another."""
        horizon, targets, _ = self._shape
        self._thetas = np.zeros((horizon, targets))
        # The lowest and highest quantile given for row n, by the rows h - 1 that it was ahead, at place n modulo H.
        self._bounds = np.full((horizon, horizon, targets, 2), np.nan)
        self._row = 0

    def observe(self, values: NDArray[np.float64], missing: NDArray[np.bool_]) -> None:
        """Score the forecasts of the next row.

        Args:
            values: of the targets (D,), in the units of forecasts.
            missing: (D,), where the value was missing.
        """
        bounds = self._bounds[self._row % len(self._bounds)]
        errors = (values < bounds[..., 0]) | (values > bounds[..., 1])
        moves = self._spec.rate * (errors - (1 - self._spec.coverage))
        scored = ~missing & ~np.isnan(bounds).any(axis=-1)
        self._thetas = np.clip(self._thetas + np.where(scored, moves, 0.0), -_MOST, _MOST)
        self._row += 1

    def adapt(self, forecast: NDArray[np.float64]) -> NDArray[np.float64]:
        """The quantiles (H, D, Q) to give of a forecast (H, D, Q) after the row observed last."""
        middle = forecast[..., self._middle, None]
        given = middle + np.exp(self._thetas)[..., None] * (forecast - middle)
        ahead = np.arange(len(given))
        self._bounds[(self._row + ahead) % len(given), ahead] = given[..., [0, -1]]
        return given
