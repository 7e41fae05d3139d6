"""Base of tasks whose outputs are logits of labels: targets and loss."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.tasks.base import Task
from rnnzoo.tasks.evaluation import predict_whole, surprise

if TYPE_CHECKING:
    import keras

    from rnnzoo.training.config import TrainingConfig
    from streaming.runtime.model import StreamingModel


class LabelTask(Task):
    """A task whose model gives logits over the encoder's labels."""

    class_targets = True

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the model's outputs, in their order."""
        return tuple(self.encoder.labels)

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {label: i for i, label in enumerate(self.labels)}

    def number(self, label: str) -> int:
        """The place of a label; -1 for one that the training split does not have."""
        return self._numbers.get(label, -1)

    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        from rnnzoo.tasks.losses import SmoothedCrossEntropy

        return SmoothedCrossEntropy(config.label_smoothing)

    def smooths_labels(self, model: keras.Model) -> bool:
        return True

    def metrics(self) -> list[keras.metrics.Metric]:
        from rnnzoo.tasks.losses import LabelAccuracy

        return [LabelAccuracy()]

    def endless_outputs(self, model: StreamingModel, split: str) -> list[NDArray[Any]]:
        """Outputs (T, L) for each example, of one stream over all examples that is never reset."""
        rows = self.arrays(split)
        joined = {name: np.concatenate([row[name] for row in rows]) for name in self.input_names}
        stream = model.create_stream()
        parts = [stream.feed(joined if len(joined) > 1 else next(iter(joined.values()))), stream.finish()]
        ends = np.cumsum([len(row[self.input_names[0]]) for row in rows])
        return np.split(np.concatenate([np.asarray(part) for part in parts]), ends[:-1])

    def best(self, model: keras.Model, split: str, batch_size: int) -> list[NDArray[Any]]:
        """Numbers of the most probable labels of each example, () or (T,), T as in the padded batch."""
        return [np.argmax(row, axis=-1) for row in self.predict(model, split, batch_size)]

    def references(self, model: keras.Model, split: str, count: int) -> list[tuple[list[str], NDArray[Any]]]:
        """Pieces of so many true outputs of middle length, with the bits (T,) of each given those before it."""
        assert self.decoder_input is not None
        rows = sorted(self.arrays(split), key=lambda row: len(row["targets"]))
        surprises = []
        for row in rows[len(rows) // 2 :][:count]:
            logits = predict_whole(model, **{name: row[name] for name in self.input_names})
            # Simultaneous translation is also asked for a piece where it goes on reading instead.
            said = np.append(row[self.decoder_input][1:], row["targets"][-1])
            counted = row["targets"] == said
            numbers = row["targets"][counted]
            surprises.append(([self.labels[number] for number in numbers], surprise(logits[counted], numbers)))
        return surprises
