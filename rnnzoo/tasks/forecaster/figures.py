"""The figures of forecasts, accumulated batch by batch, so that a long series needs no more memory than a short one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.tasks.evaluation import mean

# Windows that are looked at together.
BLOCK = 1024


class ForecastFigures:
    """Sums over windows; all values are standardized.

    Args:
        known: the targets of the training split (T, D), whose changes from season to season are the unit of `mase`.
        season: rows.
        quantiles: of the forecasts, or none.
    """

    def __init__(self, known: NDArray[Any], season: int, quantiles: Sequence[float]):
        changes = np.zeros(known.shape[1])
        for begin in range(0, len(known) - season, BLOCK):
            end = min(begin + BLOCK, len(known) - season)
            changes += np.abs(known[begin + season : end + season] - known[begin:end]).sum(axis=0, dtype=np.float64)
        self._scale = changes / max(1, len(known) - season)
        self._quantiles = np.array(quantiles)
        self._sums: dict[str, NDArray[Any] | float] = defaultdict(float)
        self._count = self._size = 0

    def add(self, true: NDArray[Any], outputs: NDArray[Any], naive: dict[str, NDArray[Any]]) -> None:
        """Some windows.

        Args:
            true: (n, H, D).
            outputs: forecasts (n, H, D) or, with quantiles, (n, H, D, Q).
            naive: forecasts to compare with, by name.
        """
        quantiles = self._quantiles
        middle = outputs[..., int(np.abs(quantiles - 0.5).argmin())] if len(quantiles) else outputs
        error = (middle - true).astype(np.float64)
        self._sums["mse"] += float(np.sum(error**2))
        self._sums["mae"] = self._sums["mae"] + np.abs(error).sum(axis=(0, 1))
        if len(quantiles):
            wrong = true[..., None] - outputs
            pinball = np.maximum(quantiles * wrong, (quantiles - 1) * wrong)
            self._sums["pinball"] += float(pinball.sum(dtype=np.float64)) / len(quantiles)
        for name, values in naive.items():
            self._sums[name] += float(np.sum((values - true).astype(np.float64) ** 2))
        self._count += len(true)
        self._size += true.size

    def result(self) -> dict[str, float]:
        """The figures that `ForecasterTask.score` describes."""
        by_column = np.asarray(self._sums["mae"])
        errors, scale = by_column * len(by_column) / self._size, self._scale
        figures = {"mse": float(self._sums["mse"]) / self._size, "mae": float(errors.mean())}
        figures["mase"] = mean(errors[scale > 0] / scale[scale > 0])
        if len(self._quantiles):
            figures["pinball"] = float(self._sums["pinball"]) / self._size
            figures["crps"] = 2 * figures["pinball"]
        for name in ("last_value_mse", "seasonal_mse"):
            figures[name] = float(self._sums[name]) / self._size
        return figures | {"count": float(self._count)}


def blocks(count: int) -> Iterable[tuple[int, int]]:
    """Begin and end of the windows that are computed together."""
    return ((begin, min(begin + BLOCK, count)) for begin in range(0, count, BLOCK))
