"""A trained run as a streaming file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import streaming
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.discovery import task_class
from rnnzoo.tasks.front_end import with_front_end
from rnnzoo.util.quiet import held_stderr
from rnnzoo.util.version import VERSION
from streaming.errors import InputError
from streaming.runtime.tasks.schema import AudioSpec, TaskSpec

if TYPE_CHECKING:
    from rnnzoo.runs.store import Run
    from streaming.conversion.convert import Report

_CALIBRATION_SEQUENCES = 100


def export_kind(run: Run, path: Path, kind: str) -> Report:
    """Convert a run to one of `rnnzoo.registry.names.KINDS`, as small as it can be; raises as `export_run` does."""
    return export_run(run, path, "dynamic") if kind == "int8" else export_run(run, path, compact=True)


def export_run(
    run: Run,
    path: str | Path,
    quantize: str | None = None,
    *,
    compact: bool = False,
    target: str | None = None,
    settings: Mapping[str, Any] | None = None,
    features: bool = False,
) -> Report:
    """Convert a run, with its task and its encoder's files inside, so that the file alone is enough.

    Args:
        run: what `load_run` returned.
        path: the .tflite to write.
        quantize: as `streaming.convert` takes it; "int8" is calibrated on sequences of the training split.
        compact, target: as `streaming.convert` takes them.
        settings: of a keyword spotter; they replace those of its configuration, see `KeywordSpotter.settings`.
        features: an audio model takes log-mel features that the client computes; otherwise it takes samples, and its
            front end is in the graph.

    Raises:
        ConfigError: a setting does not go with the model, or is out of its range.
        DataError: the data for the calibration cannot be found.
        StreamingError: the model cannot be streamed, or the stream differs from it.
    """
    source = {"name": run.config.name, "rnnzoo": VERSION}
    model, task = run.model, _task(run, settings or {})
    if not features:
        model, task = with_front_end(model, task)
    metadata = {
        "task": task,
        "files": {**run.encoder.to_files(), **_chain(run)},
        "source": source,
    }
    calibration = _calibration(run, task) if quantize == "int8" else None
    options = task_class(run.config.topology).conversion(run.config.data)
    with held_stderr():
        return streaming.convert(
            model,
            path,
            quantize=quantize,
            calibration=calibration,
            metadata=metadata,
            compact=compact,
            target=target,
            **options,
        )


def _task(run: Run, settings: Mapping[str, Any]) -> TaskSpec:
    """The task of the file, with settings in place of those of the configuration."""
    if not settings:
        return run.task
    if run.config.topology != "keyword_spotter":
        raise ConfigError(
            f"--{next(iter(settings))} goes with keyword spotters; {run.config.name} is a {run.config.topology}"
        )
    labels = run.encoder.labels
    if strange := [label for label in settings.get("background", ()) if label not in labels]:
        raise ConfigError(f"--background names {strange[0]!r}, no label of the model; known: {', '.join(labels)}")
    try:
        return dataclasses.replace(run.task, **settings)
    except InputError as error:
        raise ConfigError(str(error)) from error


def _chain(run: Run) -> dict[str, bytes]:
    """The scores between labels, which the file's graph does not hold."""
    from rnnzoo.layers import CRF

    layers = [layer for layer in run.model.layers if isinstance(layer, CRF)]
    return {"transitions.json": json.dumps(layers[0].chain_scores()).encode()} if layers else {}


def _calibration(run: Run, spec: TaskSpec) -> list[dict[str, NDArray[Any]]]:
    from rnnzoo.runs.building import load_task

    data = dataclasses.replace(run.config.data, limit=_CALIBRATION_SEQUENCES)
    task = load_task(dataclasses.replace(run.config, data=data), run.encoder)
    if isinstance(spec, AudioSpec) and spec.features is None:
        return [_sound(spec, samples, run.encoder.definition.frame_step) for samples, _ in task.examples("train")]
    return [{name: row[name] for name in task.input_names} for row in task.arrays("train")]


def _sound(spec: AudioSpec, samples: NDArray[Any], hop: int) -> dict[str, NDArray[Any]]:
    """Rows of samples as a stream takes them that begins with a recording."""
    signal = np.concatenate([np.zeros(spec.zeros or 0), samples]).astype(np.float32)
    return {"samples": signal[: len(signal) // hop * hop].reshape(-1, hop)}
