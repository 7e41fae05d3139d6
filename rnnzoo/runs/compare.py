"""Compares trained models with each other and with a classical method."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streaming
from rnnzoo.errors import ConfigError
from rnnzoo.runs.costs import stream_costs, whole_multiply_adds
from rnnzoo.runs.export import export_run
from rnnzoo.runs.store import Run, load_run, read_metrics
from rnnzoo.tasks.discovery import task_class

_MEASURED_ON = "dev"


def compare_runs(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """A table of runs on the same data: their figures on `dev`, and the cost of a streaming step.

    Args:
        paths: folders of runs of one topology on one data set.

    Returns:
        A row for each run, best first: `model`, the figures that were saved with it, `parameters`, `multiply_adds` of a
        step and `state_bytes` of a stream, the last None where it does not stream; then one for the classical method of
        the topology, if it has one, whose `parameters` are the numbers that it keeps.

    Raises:
        ConfigError: there is no run, or they are not of one topology and data set.
        DataError: the data set cannot be found.
    """
    runs = [load_run(path) for path in paths]
    kinds = {(run.config.topology, run.config.data.dataset) for run in runs}
    if len(kinds) != 1:
        received = ", ".join(f"{topology} on {dataset}" for topology, dataset in sorted(kinds)) or "none"
        raise ConfigError(f"expected runs of one topology on one data set; received {received}")
    kind = task_class(runs[0].config.topology)
    names = [run.config.name for run in runs]
    if len(set(names)) < len(names):
        names = [path.name for path in paths]
    rows = [{"model": name, **_figures(run, path)} for name, run, path in zip(names, runs, paths, strict=True)]
    rows.sort(key=lambda row: list(row.values())[1], reverse=kind.higher_is_better)
    from rnnzoo.runs.building import load_task

    baseline = load_task(runs[0].config, runs[0].encoder).baseline(_MEASURED_ON)
    if baseline is not None:
        shown = {name: value for name, value in baseline.figures.items() if name in rows[0]}
        rows.append({"model": baseline.name, **shown, "parameters": baseline.numbers})
    return rows


def _figures(run: Run, path: Path) -> dict[str, Any]:
    metrics = read_metrics(path)
    if not metrics.get(_MEASURED_ON):
        raise ConfigError(f"{path}: its figures on {_MEASURED_ON} are missing; expected a run that is whole")
    figures = {name: value for name, value in metrics[_MEASURED_ON].items() if name != "count"}
    return {**figures, "parameters": run.model.count_params(), **_costs(run)}


def _costs(run: Run) -> dict[str, int | None]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        try:
            export_run(run, path)
        except streaming.NotStreamableError:
            options = task_class(run.config.topology).conversion(run.config.data)
            return {"multiply_adds": whole_multiply_adds(run.model, options), "state_bytes": None}
        multiply_adds, state_bytes = stream_costs(path)
    return {"multiply_adds": multiply_adds, "state_bytes": state_bytes}
