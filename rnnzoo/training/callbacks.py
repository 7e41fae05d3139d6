"""What happens around an epoch: checkpoints, progress, and a stop when the loss is no number."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rnnzoo.errors import Diverged
from rnnzoo.training.checkpoint import write_weights

Logs = dict[str, float] | None


class StopOnNaN(keras.callbacks.Callback):
    """Stops at the first batch whose running loss is no number.

    Raises:
        Diverged: it happened; weights written after earlier epochs are left as they are.
    """

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss became {loss} in epoch {self.epoch + 1}, batch {batch + 1}: "
                "lower training.learning_rate or training.clip_norm"
            )


class Checkpoints(keras.callbacks.Callback):
    """Writes `last.safetensors` after each epoch and `best.safetensors` after the best one.

    Args:
        folder: where to.
        monitor: the figure that says which is best.
        higher_is_better: whether more of it is.
    """

    def __init__(self, folder: Path, monitor: str = "val_accuracy", higher_is_better: bool = True):
        super().__init__()
        self.monitor, self._sign = monitor, 1 if higher_is_better else -1
        self.last, self.best = folder / "last.safetensors", folder / "best.safetensors"
        self.history: dict[str, list[float]] = {}
        self._record = -math.inf

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        values["learning_rate"] = float(self.model.optimizer.learning_rate)
        values["seconds"] = time.perf_counter() - self._began
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)
        write_weights(self.model, self.last)
        if (figure := self._sign * values[self.monitor]) > self._record:
            self._record = figure
            write_weights(self.model, self.best)


class ProgressLines(keras.callbacks.Callback):
    """One plain line an epoch, for logs.

    Args:
        epochs: how many there will be.
    """

    def __init__(self, epochs: int):
        super().__init__()
        self.epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        seconds = time.perf_counter() - self._began
        print(f"epoch {epoch + 1}/{self.epochs}  {seconds:.0f} s  {_figures(logs)}", flush=True)

    def close(self) -> None:
        """Nothing to give back."""


class ProgressBar(keras.callbacks.Callback):
    """A bar over all steps with the time that remains, and one line an epoch above it.

    Args:
        epochs: how many there will be.
        steps: steps in an epoch.
    """

    def __init__(self, epochs: int, steps: int):
        super().__init__()
        self.epochs, self.steps = epochs, steps
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
        )

    @staticmethod
    def useful() -> bool:
        """Whether standard output is a terminal."""
        return Console().is_terminal

    def on_train_begin(self, logs: Logs = None) -> None:
        self._task = self._bar.add_task("", total=self.epochs * self.steps, epoch=1, epochs=self.epochs, loss=math.nan)
        self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._bar.update(self._task, epoch=epoch + 1)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._bar.update(self._task, advance=1, loss=(logs or {}).get("loss", math.nan))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._bar.console.print(f"epoch {epoch + 1}  {_figures(logs)}", highlight=False)

    def close(self) -> None:
        """Give the terminal back; also after an error, which Keras does not announce."""
        self._bar.stop()


def _figures(logs: Any) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in sorted((logs or {}).items()))
