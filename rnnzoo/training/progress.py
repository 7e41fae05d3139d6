"""Progress of a training as lines or a bar, and its logs in CSV and TensorBoard."""

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rnnzoo.errors import DataError
from rnnzoo.util.files import replacing

Logs = dict[str, float] | None
History = dict[str, list[float]]
# Their names are those that a run gives them.
CSV_FILE, BOARD_FOLDER = "history.csv", "tensorboard"


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
        """Does nothing."""


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
        """Restore the terminal, also after an error, which Keras does not report to callbacks."""
        self._bar.stop()


def _figures(logs: Any) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in sorted((logs or {}).items()))


def history_csv(history: History) -> str:
    """A header with the names of the figures, then one line for each epoch."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *history])
    writer.writerows([i + 1, *row] for i, row in enumerate(zip(*history.values(), strict=True)))
    return text.getvalue()


class LogFiles(keras.callbacks.Callback):
    """The figures of the epochs as CSV, written whole each time, and as events for TensorBoard.

    Args:
        folder: where `history.csv` and `tensorboard/` are made.
        history: figure -> its value in each epoch; filled by an earlier callback.

    Raises:
        DataError: the folder cannot be written.
    """

    def __init__(self, folder: Path, history: Any):
        super().__init__()
        self.folder, self._history = folder, history

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        history = self._history()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.folder / CSV_FILE) as part:
                part.write_text(history_csv(history), encoding="utf-8")
            _write_events(self.folder / BOARD_FOLDER, epoch + 1, {name: row[-1] for name, row in history.items()})
        except OSError as error:
            raise DataError(
                f"cannot write {self.folder / CSV_FILE} ({error.strerror}): make room and give the same command "
                "to go on"
            ) from error


def _write_events(folder: Path, step: int, values: dict[str, float]) -> None:
    try:
        import tensorflow as tf
    except ImportError:
        # Training on another backend of Keras does not need it; the CSV says the same.
        return
    # `tf.summary.scalar` needs the tensorboard package; what it writes does not.
    data = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=data)
    writer = tf.summary.create_file_writer(str(folder))
    try:
        with writer.as_default():
            for name, value in values.items():
                tf.summary.write(name, tf.constant(value, tf.float32), step=step, metadata=metadata)
        writer.close()
    except tf.errors.OpError as error:
        raise OSError(error.error_code, (error.message or "events refused").splitlines()[0]) from error
