"""forecast-etth1 on months 17 to 20 of ETTh1, as one stream: a CSV file read by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import oracle
import tasks

BUNDLE, KIND = "forecast-etth1", "series"
_MONTH = 30 * 24
_BEGIN, _END = 16 * _MONTH, 20 * _MONTH
# Rows before a forecast, and rows that it is of.
_CONTEXT, _HORIZON = 336, 96


def examples(data: Path, limit: int | None = None) -> list[tuple[np.ndarray, int]]:
    """All rows up to the end of the test split, and the number of its first; a limit is one of windows."""
    lines = (data / "etth1" / "ETTh1.csv").read_text(encoding="utf-8").split("\n")[1 : _END + 1]
    values = np.array([line.split(",")[1:] for line in lines], np.float32)
    return [(values if limit is None else values[: _BEGIN + _HORIZON + limit - 1], _BEGIN)]


def figures(model: oracle.Model, rows: list[tuple[np.ndarray, int]]) -> dict[str, float]:
    """Errors of standardized values over all windows with 96 rows ahead, the first one after 336 rows."""
    ((values, begin),) = rows
    task = model.meta["task"]
    mean, scale = (np.array(task["scaler"][key]) for key in ("mean", "scale"))
    given = values[begin - _CONTEXT :]
    true = (given - mean) / scale
    wrong = [
        (np.array(event["values"]) - mean) / scale - true[end : end + _HORIZON]
        for event in tasks.forecasts(model, task, given)[_CONTEXT - 1 :]
        if (end := event["row"] + 1) + _HORIZON <= len(true)
    ]
    errors = np.array(wrong)
    return {"mse": float(np.mean(errors**2)), "mae": float(np.mean(np.abs(errors))), "count": float(len(wrong))}


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the first windows of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
