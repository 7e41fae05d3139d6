"""Callbacks of every training: snapshots, early stopping, and a stop when the loss is not finite."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rnnzoo.errors import DataError, Diverged
from rnnzoo.tasks.carried import states
from rnnzoo.tasks.discovery import current_name
from rnnzoo.training.config import TrainingConfig
from rnnzoo.training.optimization import epochs_in_vain, plateau_rate
from rnnzoo.training.snapshot import Snapshot, read_snapshot, write_snapshot

Logs = dict[str, float] | None
# Beginnings of the names of arrays in a snapshot.
_BEST, _METRIC = "best/", "metric/"
_TASK = re.compile(r"^topology: (\w+)$", re.MULTILINE)


class StopOnNaN(keras.callbacks.Callback):
    """Stops at the first batch whose running loss is not finite.

    Args:
        start: number of the first epoch, and of the batch that it begins with.

    Raises:
        Diverged: the loss is not finite; weights of earlier epochs are kept.
    """

    def __init__(self, start: tuple[int, int] = (0, 0)):
        super().__init__()
        self._start, self.position = start, start

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.position = (epoch, 0)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        epoch = self.position[0]
        self.position = (epoch, batch + (self._start[1] if epoch == self._start[0] else 0))
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise Diverged(f"the loss became {loss} in epoch {epoch + 1}, batch {self.position[1] + 1}")


class Snapshots(keras.callbacks.Callback):
    """Keeps the history and the best weights, and writes snapshots from which the training can resume.

    A snapshot is written at the beginning of an epoch and whenever the last one is older than `seconds`.

    Args:
        folder: of the snapshots.
        experiment: what is trained, as text; a snapshot of another experiment is refused.
        monitor: the figure that says which epoch is best.
        higher_is_better: whether a higher figure is better.
        seconds: time between snapshots; on several workers they are at the beginnings of epochs, or at each step for 0.
        steps: batches in an epoch.
    """

    def __init__(self, folder: Path, experiment: str, monitor: str, higher_is_better: bool, seconds: float, steps: int):
        super().__init__()
        self.steps = steps
        self.folder, self.experiment, self.monitor, self.seconds = folder, experiment, monitor, seconds
        self._sign = 1 if higher_is_better else -1
        self.history: dict[str, list[float]] = {}
        self.start = (0, 0)
        # Of several workers one writes; all take part, as reading a metric adds up what they have, and each clock
        # has its own time.
        self.writes, self.workers = True, 1
        self._record: float | None = None
        self._best: dict[str, NDArray[Any]] = {}
        self._restored: dict[str, NDArray[Any]] = {}
        self._spent, self._written = 0.0, time.perf_counter()

    def restore(self, model: keras.Model) -> bool:
        """Set a compiled model, its optimizer and this object to the newest snapshot.

        Returns:
            Whether there is one.

        Raises:
            DataError: the snapshot is of another experiment.
        """
        snapshot = read_snapshot(self.folder)
        if snapshot is None:
            return False
        arrays, progress = snapshot
        # An earlier version may have called the task otherwise.
        if _TASK.sub(lambda line: f"topology: {current_name(line[1])}", progress["experiment"]) != self.experiment:
            raise DataError(
                f"{self.folder} holds an unfinished training of another configuration: go on with that one, choose "
                "another folder, or start anew with --overwrite"
            )
        for name, variable in _state(model).items():
            variable.assign(arrays[name])
        self._restored = arrays
        self.start = tuple(progress["position"])
        self.history, self._record, self._spent = progress["history"], progress["record"], progress["seconds"]
        self._best = {name[len(_BEST) :]: value for name, value in arrays.items() if name.startswith(_BEST)}
        return True

    @property
    def figures(self) -> list[float]:
        """The monitored figure of each epoch, with the sign by which higher is better."""
        return [self._sign * value for value in self.history.get(self.monitor, [])]

    def take_best(self, model: keras.Model) -> None:
        """Give the model the weights of the best epoch."""
        for variable in model.weights:
            variable.assign(self._best[variable.path])

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch, self._began = epoch, time.perf_counter() - self._spent
        self._offset = self.start[1] if epoch == self.start[0] else 0
        if self._offset:
            # The means of the epoch, and states that are carried, have just been set to nothing.
            for name, variable in (_state(self.model) | _metrics(self.model)).items():
                variable.assign(self._restored[name])
        else:
            self._write(0)
        self._restored, self._spent = {}, 0.0

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        position = self._offset + batch + 1
        # Keras counts all epochs as long as each other: it is told where the rest of an interrupted one ends.
        self.model.stop_training |= bool(self._offset) and position == self.steps
        # After its last batch an epoch is not over: what comes of it is in the snapshot that begins the next.
        if position < self.steps and self._is_due():
            self._write(position)

    def _is_due(self) -> bool:
        if self.workers > 1:
            return self.seconds == 0
        return time.perf_counter() - self._written >= self.seconds

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.model.stop_training &= not self._offset
        values = {name: float(value) for name, value in (logs or {}).items()}
        values["learning_rate"] = float(self.model.optimizer.learning_rate)
        values["seconds"] = time.perf_counter() - self._began
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)
        figure = self._sign * values[self.monitor]
        if self._record is None or figure > self._record:
            self._record, self._best = figure, {v.path: np.asarray(v.numpy()) for v in self.model.weights}

    def _write(self, batch: int) -> None:
        arrays = {name: np.asarray(variable.numpy()) for name, variable in _state(self.model).items()}
        if not all(np.isfinite(value).all() for value in arrays.values() if value.dtype.kind == "f"):
            # The next loss will be no number: the state before it is what is worth keeping.
            return
        arrays |= {name: np.asarray(variable.numpy()) for name, variable in _metrics(self.model).items()}
        arrays |= {_BEST + name: value for name, value in self._best.items()}
        progress = {
            "experiment": self.experiment,
            "position": [self._epoch, batch],
            "history": self.history,
            "record": self._record,
            "seconds": time.perf_counter() - self._began,
        }
        if self.writes:
            write_snapshot(self.folder, Snapshot(arrays, progress))
        self._written = time.perf_counter()


def _state(model: keras.Model) -> dict[str, Any]:
    """Weights, states, seeds of dropout, and all of the optimizer."""
    parts = {"model": model.variables, "carried": states(model), "optimizer": model.optimizer.variables}
    return {f"{part}/{i}": v for part, variables in parts.items() for i, v in enumerate(variables)}


def _metrics(model: keras.Model) -> dict[str, Any]:
    """The running means of the epoch."""
    return {f"{_METRIC}{i}": v for i, v in enumerate(model.metrics_variables)}


class Patience(keras.callbacks.Callback):
    """Ends a training that does not improve, and lowers the rate at a plateau; both depend on the history only.

    Args:
        config: how to train.
        snapshots: has the history; called before.
    """

    def __init__(self, config: TrainingConfig, snapshots: Snapshots):
        super().__init__()
        self._config, self._snapshots = config, snapshots
        self.stopped: int | None = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        figures = self._snapshots.figures
        if self._config.schedule == "plateau":
            self.model.optimizer.learning_rate = plateau_rate(self._config, figures)
        if self._config.patience is not None and epochs_in_vain(figures) >= self._config.patience:
            self.model.stop_training, self.stopped = True, epoch + 1
