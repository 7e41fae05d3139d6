"""Base of taggers of rows: windows in order, through which the state is carried in training."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.signals import SignalEncoder
from rnnzoo.errors import DataError
from rnnzoo.tasks.batches import Batch
from rnnzoo.tasks.labels import LabelTask
from streaming.runtime.tasks.schema import SequenceTaggerSpec

if TYPE_CHECKING:
    import keras

# Loudness of a row of a training batch: from 1 - _LOUDER to 1 + _LOUDER.
_LOUDER = 0.2


class CarriedRowsTask(LabelTask):
    """Base of tasks with logits after each frame of rows."""

    topology = "sequence_tagger"
    kinds: ClassVar[tuple[str, ...]]
    monitor = "val_loss"
    higher_is_better = False
    windowed = True

    @property
    def frame(self) -> int:
        """Samples that the model takes at a time."""
        return int(self.encoder.frame)

    @property
    def rate(self) -> float:
        """Samples a second."""
        return float(self.config.sample_rate)

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> SignalEncoder:
        return SignalEncoder.from_files(files)

    @classmethod
    def spec(cls, config: Any, encoder: SignalEncoder) -> SequenceTaggerSpec:
        known = {"scaler": encoder.scaler, **encoder.table(config)}
        return SequenceTaggerSpec(len(encoder.labels), sample_rate=config.sample_rate, **known)

    def training_model(self, model: keras.Model, batch_size: int) -> keras.Model:
        from rnnzoo.tasks.carried import carried_twin

        return carried_twin(model, batch_size)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        from rnnzoo.tasks.callbacks import FreshStates

        return [FreshStates()]

    def steps(self, split: str, batch_size: int) -> int:
        """Windows of one pass; the recordings of a split follow one another."""
        frames, window = sum(len(row["targets"]) for row in self.arrays(split)), self.config.window
        count = (frames - window) // (batch_size * window)
        if count < 1:
            raise DataError(
                f"split {split!r} has {frames} frames, fewer than {batch_size} rows of a window of {window}: "
                "lower training.batch_size or data.window"
            )
        return count

    def batches(
        self, split: str, batch_size: int, rng: np.random.Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[NDArray[Any], Batch]]:
        """Windows in order; row b continues row b of the window before."""
        count, window, frame = self.steps(split, batch_size), self.config.window, self.frame
        offset = 0 if rng is None else int(rng.integers(window))
        loud = np.ones(batch_size) if rng is None else rng.uniform(1 - _LOUDER, 1 + _LOUDER, batch_size)
        chosen = slice(offset, offset + batch_size * count * window)
        signal = np.concatenate([row["rows"] for row in self.arrays(split)])
        signal = signal.reshape(-1)[
            chosen.start * frame * self.encoder.width : chosen.stop * frame * self.encoder.width
        ]
        signal = signal.reshape(batch_size, count, window * frame, self.encoder.width)
        signal = signal * loud[:, None, None, None].astype(np.float32)
        targets = np.concatenate([row["targets"] for row in self.arrays(split)])[chosen]
        targets = targets.reshape(batch_size, count, window)
        # Frames without a label weigh nothing.
        weights = np.where(targets >= 0, self.label_weights()[np.maximum(targets, 0)], 0).astype(np.float32)
        targets = np.maximum(targets, 0)
        for i in range(skip, count):
            yield np.arange(batch_size), ({"rows": signal[:, i]}, targets[:, i], weights[:, i])

    @abc.abstractmethod
    def label_weights(self) -> NDArray[Any]:
        """Weights of labels, (L,): the square root of the frequency of the most frequent label over that of each."""

    def _signature(self, split: str) -> Any:
        import tensorflow as tf

        return (
            {"rows": tf.TensorSpec((None, None, self.encoder.width), tf.float32)},
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((None, None), tf.float32),
        )
