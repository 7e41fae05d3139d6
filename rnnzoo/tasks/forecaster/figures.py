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
            self._sums["held"] += float(np.sum((wrong[..., 0] >= 0) & (wrong[..., -1] <= 0)))
            pinball = np.maximum(quantiles * wrong, (quantiles - 1) * wrong)
            self._sums["pinball"] += float(pinball.sum(dtype=np.float64)) / len(quantiles)
        for name, values in naive.items():
            wrong = (values - true).astype(np.float64)
            self._sums[f"{name}_mse"] += float(np.sum(wrong**2))
            self._sums[f"{name}_mae"] = self._sums[f"{name}_mae"] + np.abs(wrong).sum(axis=(0, 1))
        self._count += len(true)
        self._size += true.size

    def result(self) -> dict[str, float]:
        """The figures that `ForecasterTask.score` describes."""
        figures = {"mse": float(self._sums["mse"]) / self._size, "mae": float(self._errors("mae").mean())}
        figures["mase"] = self._scaled("mae")
        if len(self._quantiles):
            figures["pinball"] = float(self._sums["pinball"]) / self._size
            figures["crps"] = 2 * figures["pinball"]
        if len(self._quantiles) > 1:
            figures["coverage"] = float(self._sums["held"]) / self._size
        for name in ("last_value", "seasonal"):
            figures[f"{name}_mse"] = float(self._sums[f"{name}_mse"]) / self._size
        for name in ("last_value", "seasonal"):
            figures[f"{name}_mase"] = self._scaled(f"{name}_mae")
        return figures | {"count": float(self._count)}

    def _errors(self, name: str) -> NDArray[Any]:
        """Mean absolute errors of each column (D,)."""
        by_column = np.asarray(self._sums[name])
        return by_column * len(by_column) / self._size

    def _scaled(self, name: str) -> float:
        """The mean over columns of errors in the unit of `mase`."""
        errors, scale = self._errors(name), self._scale
        return mean(errors[scale > 0] / scale[scale > 0])


def blocks(count: int) -> Iterable[tuple[int, int]]:
    """Begin and end of the windows that are computed together."""
    return ((begin, min(begin + BLOCK, count)) for begin in range(0, count, BLOCK))
