"""A configuration trained with every combination of some settings."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from rnnzoo.errors import ConfigError, Diverged
from rnnzoo.registry.layout import CONFIG_FILE
from rnnzoo.runs.config import dump_config, load_config
from rnnzoo.runs.experiment import run_experiment
from rnnzoo.runs.store import check_run, read_metrics
from rnnzoo.util.files import write_text

RESULTS_FILE = "results.csv"


def parse_grid(texts: Sequence[str]) -> dict[str, list[str]]:
    """Key -> the values that it takes, as YAML; from `key=a,b,c`.

    Raises:
        ConfigError: a text has another form or no values, or a key occurs twice.
    """
    grid: dict[str, list[str]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        try:
            parsed = yaml.safe_load(f"[{values}]")
        except yaml.YAMLError:
            parsed = None
        if not equals or not key or not parsed:
            raise ConfigError(f"{text!r}: expected key=value,value, such as model.units=128,256")
        if key in grid:
            raise ConfigError(f"{text!r}: the key {key!r} comes twice; list all its values once")
        grid[key] = [yaml.safe_dump(one, default_flow_style=True).split("\n...")[0].strip() for one in parsed]
    if not grid:
        raise ConfigError("expected settings to sweep over, such as model.units=128,256")
    return grid


def run_sweep(config: Path, grid: dict[str, list[str]], out: Path) -> list[dict[str, Any]]:
    """Train each combination that has no run yet; interrupted ones are resumed.

    Args:
        config: the YAML file.
        grid: as `parse_grid` gives it.
        out: a folder for the runs and for `results.csv`, which is written again after each run.

    Returns:
        A row for each combination, best first: its settings, the figures on `dev`, `parameters` and `seconds`; of one
        that diverged, `error`.

    Raises:
        ConfigError: a setting is unknown or out of range, before anything is trained.
        DataError: as `run_experiment`.
    """
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    configs = [load_config(config, [f"{key}={value}" for key, value in one.items()]) for one in combinations]
    rows: list[dict[str, Any]] = []
    for number, (settings, experiment) in enumerate(zip(combinations, configs, strict=True), 1):
        print(f"{number}/{len(configs)}  {'  '.join(f'{k}={v}' for k, v in settings.items())}", flush=True)
        rows.append({**settings, **_figures(experiment, out / _folder(settings))})
        _write(out / RESULTS_FILE, rows)
    return _ranked(rows, len(grid), _higher_is_better(configs[0].topology))


def _figures(config: Any, path: Path) -> dict[str, Any]:
    if not _is_done(config, path):
        try:
            run_experiment(config, path, overwrite=path.exists())
        except Diverged as error:
            return {"error": str(error)}
    metrics = read_metrics(path)
    seconds = sum(metrics.get("history", {}).get("seconds", []))
    dev = {name: value for name, value in metrics["dev"].items() if name != "count"}
    return {**dev, "parameters": metrics["parameters"], "seconds": round(seconds, 1)}


def _is_done(config: Any, path: Path) -> bool:
    try:
        check_run(path)
    except ConfigError:
        return False
    return (path / CONFIG_FILE).read_text(encoding="utf-8") == dump_config(config)


def _higher_is_better(topology: str) -> bool:
    from rnnzoo.tasks.discovery import task_class

    return task_class(topology).higher_is_better


def _ranked(rows: list[dict[str, Any]], keys: int, higher: bool) -> list[dict[str, Any]]:
    """Sorts runs by the first figure after the settings; those that diverged come last."""

    def place(row: dict[str, Any]) -> tuple[bool, float]:
        first = list(row.values())[keys]
        return ("error" in row, 0.0 if "error" in row else -first if higher else first)

    return sorted(rows, key=place)


def _folder(settings: dict[str, str]) -> str:
    """A name that a file system takes, and no two combinations share."""
    text = "_".join(f"{key.rpartition('.')[2]}={value}" for key, value in settings.items())
    safe = "".join(c if c.isalnum() or c in "=._-" else "-" for c in text)[:80]
    return f"{safe}-{hashlib.sha256(repr(settings).encode()).hexdigest()[:6]}"


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())
