"""Batches of a task's examples for `fit` and `evaluate` of Keras on any backend."""

from __future__ import annotations

import keras
import numpy as np

from rnnzoo.tasks.base import Task
from rnnzoo.tasks.batches import Batch


class BatchesOf(keras.utils.PyDataset):
    """The training split of a task.

    Args:
        task: has the examples.
        batch_size: sequences in a batch.
        training: shuffle and augment them in each pass.
    """

    def __init__(self, task: Task, batch_size: int, training: bool):
        super().__init__()
        self._task, self._size, self._training, self._passes = task, batch_size, training, 0
        self._batches: list[Batch] = []
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:
        return self._batches[index]

    def on_epoch_end(self) -> None:
        """Draw the next pass."""
        rng = np.random.default_rng((self._task.seed, self._passes)) if self._training else None
        if self._training or not self._batches:
            self._batches = [batch for _, batch in self._task.batches("train", self._size, rng)]
        self._passes += 1
