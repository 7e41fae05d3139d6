"""A trained run as a streaming file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import rnnzoo
import streaming
from rnnzoo.quiet import held_stderr
from rnnzoo.registry import problem_class
from rnnzoo.runs import weights_dtype

if TYPE_CHECKING:
    from rnnzoo.runs import Run
    from streaming.conversion.convert import Report

_CALIBRATION_SEQUENCES = 100
_EXACT = 1e-5


def export_kind(run: Run, path: Path, kind: str) -> Report:
    """Convert a run to one of `rnnzoo.registry.KINDS`; raises as `export_run` does.

    Weights that the run stores in float16 stay so in the file of float32, which computes with the same numbers.
    """
    if kind == "int8":
        return export_run(run, path, "dynamic")
    if weights_dtype(run.path) == "float16":
        # Not so where the graph has finer constants of its own, such as the filters of sounds.
        with contextlib.suppress(streaming.ParityError):
            return export_run(run, path, "float16", tolerance=_EXACT)
    return export_run(run, path)


def export_run(run: Run, path: str | Path, quantize: str | None = None, *, tolerance: float | None = None) -> Report:
    """Convert a run, with its task and its encoder's files inside, so that the file alone is enough.

    Args:
        run: what `load_run` returned.
        path: the .tflite to write.
        quantize: as `streaming.convert` takes it; "int8" is calibrated on sequences of the training split.
        tolerance: as `streaming.convert` takes it.

    Raises:
        DataError: the data for the calibration cannot be found.
        StreamingError: the model cannot be streamed, or the stream differs from it.
    """
    source = {"name": run.config.name, "rnnzoo": rnnzoo.__version__}
    metadata = {"task": run.task, "files": {**run.encoder.to_files(), **_chain(run)}, "source": source}
    calibration = _calibration(run) if quantize == "int8" else None
    options = problem_class(run.config.topology).conversion(run.config.data)
    with held_stderr():
        return streaming.convert(
            run.model,
            path,
            quantize=quantize,
            calibration=calibration,
            tolerance=tolerance,
            metadata=metadata,
            **options,
        )


def _chain(run: Run) -> dict[str, bytes]:
    """The scores between labels, which the file's graph does not hold."""
    from rnnzoo.layers import CRF

    layers = [layer for layer in run.model.layers if isinstance(layer, CRF)]
    return {"transitions.json": json.dumps(layers[0].chain_scores()).encode()} if layers else {}


def _calibration(run: Run) -> list[dict[str, np.ndarray]]:
    from rnnzoo.problems import load_problem

    data = dataclasses.replace(run.config.data, limit=_CALIBRATION_SEQUENCES)
    problem = load_problem(dataclasses.replace(run.config, data=data), run.encoder)
    return [{name: row[name] for name in problem.input_names} for row in problem.arrays("train")]
