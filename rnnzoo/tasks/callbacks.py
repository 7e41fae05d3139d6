"""Callbacks for the training of some tasks: fresh states, and figures that are not means over batches."""

from __future__ import annotations

from collections.abc import Callable

import keras

from rnnzoo.tasks.carried import reset_states

Logs = dict[str, float] | None


class FreshStates(keras.callbacks.Callback):
    """Resets carried states to zero at the beginning of every pass over a split.

    Args:
        every: reset also after so many batches, a divisor of the batches of a pass; None carries them through the whole
            pass.
    """

    def __init__(self, every: int | None = None):
        super().__init__()
        self._every = every

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        reset_states(self.model)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        # Keras counts the batches of a pass that goes on from a snapshot from 0.
        if self._every and int(self.model.optimizer.iterations) % self._every == 0:
            reset_states(self.model)

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if self._every and batch % self._every == 0:
            reset_states(self.model)

    def on_test_begin(self, logs: Logs = None) -> None:
        reset_states(self.model)


class EpochFigures(keras.callbacks.Callback):
    """Adds figures on `dev` that are not means over batches to those of the epoch.

    Args:
        figures: takes the model, returns them by name.
    """

    def __init__(self, figures: Callable[[keras.Model], dict[str, float]]):
        super().__init__()
        self._figures = figures

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if logs is not None:
            logs.update({f"val_{name}": value for name, value in self._figures(self.model).items()})
