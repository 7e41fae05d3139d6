"""`rnnzoo diagnose`: the flow of gradients in a run or a fresh model, as plots and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rnnzoo.errors import ConfigError
from rnnzoo.registry.layout import CONFIG_FILE
from rnnzoo.registry.names import config_path
from rnnzoo.runs.building import build_model
from rnnzoo.runs.config import ExperimentConfig, load_config
from rnnzoo.runs.store import load_run

_BATCH = 16


class Report(NamedTuple):
    """The result of a diagnosis.

    Args:
        findings: sentences.
        plots: the PNG files written.
    """

    findings: list[str]
    plots: list[Path]


def diagnose_source(source: str, overrides: Sequence[str], out: Path) -> Report:
    """Diagnose a run with its weights, or a configuration with fresh ones, on its longest sequences of `dev`.

    Args:
        source: folder of a run, a YAML file, or a name of the zoo (a configuration).
        overrides: `key=value` for a configuration.
        out: a folder for the plots.

    Raises:
        ConfigError, DataError: as `load_run`, `load_config` and `load_task`.
    """
    from rnnzoo.runs.building import load_task
    from rnnzoo.training.diagnostics import diagnose, findings
    from rnnzoo.util.plots import curves, dots, figure

    path = Path(source)
    if (path / CONFIG_FILE).is_file():
        if overrides:
            raise ConfigError(f"{source} is a run: {overrides[0]!r} is for a configuration")
        run = load_run(path)
        config, model, task = run.config, run.model, load_task(run.config, run.encoder)
    else:
        config = load_config(config_path(source), overrides)
        task = load_task(config)
        model = build_model(config, task.encoder)
    *_, (_, batch) = task.batches("dev", _BATCH)
    task.training_model(model, _BATCH)  # the loss of a chain of labels needs its layer
    diagnosis = diagnose(model, batch, task.loss(config.training))
    plot = out / f"{config.name}-gradients.png"
    with figure(plot, 2) as (left, right):
        name = "gradient of the last decision"
        curves(left, diagnosis.by_time, title="Back through time", x="steps back", y=f"|dL/dh|, {name}")
        dots(right, diagnosis.by_layer, title="By layer", x="norm of the gradient of the loss")
    return Report([_head(config, path), *findings(diagnosis)], [plot])


def _head(config: ExperimentConfig, path: Path) -> str:
    trained = "trained" if (path / CONFIG_FILE).is_file() else "fresh weights"
    return f"{config.name} ({config.topology}, {trained}), the longest sequences of dev"
