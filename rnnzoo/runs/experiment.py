"""Trains the run of a configuration, and evaluates runs."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streaming
from rnnzoo.errors import ConfigError
from rnnzoo.registry.layout import KINDS
from rnnzoo.runs.building import build_model
from rnnzoo.runs.config import ExperimentConfig, dump_config
from rnnzoo.runs.export import export_kind
from rnnzoo.runs.provenance import commit, hardware, train_command
from rnnzoo.runs.store import Run, check_free, read_metrics, save_run
from rnnzoo.runs.transfer import start_from
from rnnzoo.util.quiet import held_stderr

if TYPE_CHECKING:
    from rnnzoo.tasks.base import Task
    from rnnzoo.training.parallel import Parallel

# Ends the names of the figures of one stream over a whole split.
NEVER_RESET = "_never_reset"
# What a training logs, and a run keeps.
CSV_FILE, BOARD_FOLDER = "history.csv", "tensorboard"


def run_experiment(
    config: ExperimentConfig,
    out: Path,
    *,
    dtype: str = "float32",
    overwrite: bool = False,
    strategy: str | None = None,
    start: Path | None = None,
    announce: Callable[[Task], None] | None = None,
) -> dict[str, Any]:
    """Train, measure on `dev`, save.

    Args:
        config: what to train.
        out: folder of the run; until it is saved, snapshots are beside it, from which an interrupted training resumes.
        dtype: of the stored weights.
        overwrite: replace an existing run, and start again.
        strategy: `mirrored` or `multiworker`, as `rnnzoo.training.parallel` takes it; None: one device.
        start: folder of a run whose weights are the start, wherever both models have them; None: fresh weights.
        announce: called with the task when its data has been read, before the training.

    Returns:
        The metrics that are saved: `dev`, `parameters`, and the `history` of the epochs.

    Raises:
        ConfigError, DataError, Diverged: as `load_task`, `rnnzoo.training.fit` and `save_run`.
    """
    check_free(out, overwrite)
    from rnnzoo.runs.building import load_task
    from rnnzoo.training.checkpoint import round_weights
    from rnnzoo.training.progress import history_csv

    task = load_task(config)
    if announce is not None:
        announce(task)
    checkpoints = out.with_name(f"{out.name}.checkpoints")
    if overwrite:
        shutil.rmtree(checkpoints, ignore_errors=True)
    trained, history, chief = _train(config, task, checkpoints, strategy, start)
    # What is measured is what is stored: on one device, in float32.
    model = build_model(config, task.encoder)
    model.set_weights(trained.get_weights())
    round_weights(model, dtype)
    metrics = {
        "dev": task.evaluate(model, "dev"),
        "parameters": model.count_params(),
        "made": {"command": train_command(config, dtype, start), "commit": commit()},
        "history": history,
    }
    if chief:
        files = {**task.encoder.to_files(), CSV_FILE: history_csv(history).encode()}
        save_run(out, model, config, files, metrics, dtype)
        if (board := checkpoints / BOARD_FOLDER).is_dir():
            shutil.move(board, out / BOARD_FOLDER)
        shutil.rmtree(checkpoints)
    return metrics


def _train(
    config: ExperimentConfig, task: Task, folder: Path, strategy: str | None, start: Path | None
) -> tuple[Any, dict[str, list[float]], bool]:
    """The trained model, its history, and whether this process is the one that saves."""
    from rnnzoo.training import fit
    from rnnzoo.training.precision import make_deterministic, precision

    training = config.training
    make_deterministic(training.deterministic)
    parallel = _parallel(strategy)
    with precision(training.precision), parallel.strategy.scope() if parallel else contextlib.nullcontext():
        model = build_model(config, task.encoder)
        if start is None:
            task.begin(model, config.model)
        else:
            start_from(model, task.encoder, start)
    experiment = dump_config(config)
    history = fit(
        model, task, training, seed=config.seed, run_dir=folder, experiment=experiment, logs=True, parallel=parallel
    )
    return model, history, parallel is None or parallel.is_chief


def _parallel(strategy: str | None) -> Parallel | None:
    import keras

    if strategy is None:
        return None
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(f"--strategy {strategy} needs KERAS_BACKEND=tensorflow; received {keras.backend.backend()!r}")
    from rnnzoo.training.parallel import Parallel

    return Parallel(strategy)


def evaluate_run(
    run: Run, split: str = "test", *, files: Mapping[str, Path] | None = None, limit: int | None = None
) -> dict[str, Any]:
    """The figures of a run: offline by Keras, and streamed through the converted files, float32 and int8.

    Args:
        run: what `load_run` returned.
        split: `train`, `dev` or `test`.
        files: its converted files by `float32` and `int8`; None converts it to temporary files.
        limit: measure on the first so many examples only.

    Returns:
        `name`, `dataset`, `split`, `parameters`, `offline` (metrics), and for each of `float32` and `int8` its
        metrics with `size_bytes`, `delay` and `max_abs_error`, and as `float32_never_reset` and `int8_never_reset`
        those of one stream over the whole split, where the topology has them; where the model cannot be streamed,
        `not_streamable` says why instead. `made`: the seed of the training, the command, commit and hardware of
        this evaluation, and the signature of the library that measured.

    Raises:
        DataError: the data set or the split cannot be found.
    """
    from rnnzoo.runs.building import load_task

    # The run's own vocabularies: the data may have been prepared anew since.
    data = run.config.data if limit is None else dataclasses.replace(run.config.data, limit=limit)
    task = load_task(dataclasses.replace(run.config, data=data), run.encoder)
    task.examples(split)
    evaluation: dict[str, Any] = {
        "name": run.config.name,
        "dataset": run.config.data.dataset,
        "split": split,
        "parameters": run.model.count_params(),
        "offline": task.evaluate(run.model, split),
        "classes": task.classes(run.model, split),
        "made": {
            "seed": run.config.seed,
            "command": f"rnnzoo evaluate {run.config.name} --split {split}",
            "commit": commit(),
            "hardware": hardware(),
            "signature": task.signature(split),
        },
    }
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in KINDS if files is None else files:
                path = Path(folder) / "model.tflite" if files is None else files[name]
                if files is None:
                    export_kind(run, path, name)
                evaluation |= _evaluate_streamed(task, split, path, name)
    except streaming.NotStreamableError as error:
        evaluation["not_streamable"] = str(error)
    return evaluation


def figures_csv(evaluation: Mapping[str, Any]) -> str:
    """The result of `evaluate_run` as CSV: a line for each figure of each way to run the model."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    common = {name: evaluation[name] for name in ("name", "dataset", "split")} | evaluation["made"]
    writer.writerow(["way", "figure", "value", *common])
    for way, row in evaluation.items():
        if way == "classes":
            rows = [(label, name, value) for label, figures in row.items() for name, value in figures.items()]
            writer.writerows([f"{label} offline", name, value, *common.values()] for label, name, value in rows)
        elif isinstance(row, dict) and way != "made":
            # The mean over nothing is no number.
            known = {name: "" if value is None or math.isnan(value) else value for name, value in row.items()}
            writer.writerows([way, name, value, *common.values()] for name, value in known.items())
    return text.getvalue()


def draw_run(run: Run, split: str, folder: Path) -> list[Path]:
    """Draw a run: its learning curves, and the plots of its task for a split.

    Args:
        run: what `load_run` returned.
        split: `train`, `dev` or `test`.
        folder: for the pictures; made if it is missing.

    Raises:
        DataError: the data set or the split cannot be found, or the folder cannot be written.
    """
    from rnnzoo.runs.building import load_task
    from rnnzoo.tasks.drawing import draw_history

    task, history = load_task(run.config, run.encoder), read_metrics(run.path).get("history", {})
    drawn = [draw_history(folder / "learning-curves.png", history)] if history else []
    return [*drawn, *task.draw(run.model, split, folder)]


def _evaluate_streamed(task: Task, split: str, path: Path, name: str) -> dict[str, Any]:
    with held_stderr():
        model = streaming.load(path)
    figures = {
        **task.evaluate_stream(model, split),
        "size_bytes": path.stat().st_size,
        "delay": model.delay,
        "max_abs_error": model.metadata.verification.max_abs_error,
    }
    never = {f"{name}{NEVER_RESET}": task.evaluate_stream(model, split, reset=False)} if task.endless else {}
    return {name: figures, **never}
