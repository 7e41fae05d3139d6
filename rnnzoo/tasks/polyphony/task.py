"""Polyphonic music as rows of zeros and ones: predicts the notes of the next step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.rows import RowEncoder
from rnnzoo.data.source import Example
from rnnzoo.tasks.base import Task
from rnnzoo.tasks.baselines import Baseline, NoteChain
from rnnzoo.tasks.evaluation import predict_whole
from streaming.runtime.tasks import Forecaster
from streaming.runtime.tasks.schema import ForecasterSpec

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.tasks.polyphony.config import PolyphonyData
    from rnnzoo.training.config import TrainingConfig
    from streaming.runtime.model import StreamingModel

_LOWEST = 1e-7
# Steps that are drawn.
_DRAWN = 96


class PolyphonyTask(Task):
    """The probability of each note of the next chord, after each chord (Boulanger-Lewandowski et al. 2012)."""

    topology = "polyphony"
    kinds = ("rolls",)
    monitor = "val_loss"
    higher_is_better = False
    padding: ClassVar[Mapping[str, float]] = {}

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: PolyphonyData) -> RowEncoder:
        # The device names a column by its note: 21 is the lowest key of a piano.
        notes = tuple(f"midi_{21 + i}" for i in range(train[0][0].shape[1]))
        return RowEncoder.fit(
            [roll for roll, _ in train], dataclasses.replace(config, columns=config.columns or notes, scale=False)
        )

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> RowEncoder:
        return RowEncoder.from_files(files)

    @classmethod
    def spec(cls, config: Any, encoder: RowEncoder) -> ForecasterSpec:
        return ForecasterSpec(encoder.columns, scaler=encoder.scaler)

    def encode(self, example: Example) -> Arrays:
        roll = example[0]
        return {
            **self.encoder.encode(roll[:-1]),
            "targets": roll[1:].astype(np.float32),
            "weights": np.ones(len(roll) - 1, np.float32),
        }

    def augment(self, row: Arrays, rng: np.random.Generator) -> Arrays:
        """The piece in another key in which all notes are on the keyboard."""
        most = self.config.transpose
        used = np.flatnonzero(np.concatenate([row["rows"], row["targets"]]).any(axis=0))
        if not most or not len(used):
            return row
        low, high = max(-most, -int(used[0])), min(most, self.encoder.width - 1 - int(used[-1]))
        shift = int(rng.integers(low, high + 1))
        return {**row, **{name: np.roll(row[name], shift, axis=1) for name in ("rows", "targets")}}

    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        from rnnzoo.tasks.losses import SummedBinaryCrossEntropy

        return SummedBinaryCrossEntropy(_LOWEST)

    def metrics(self) -> list[keras.metrics.Metric]:
        return []

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        outputs = self.predict(model, split, batch_size)
        lengths = [len(row["rows"]) for row in self.arrays(split)]
        return self.score(split, [row[:length] for row, length in zip(outputs, lengths, strict=True)])

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """The notes of the first piece, and how probable each was one step before."""
        from rnnzoo.tasks.drawing import draw_roll

        row = self.arrays(split)[0]
        found, true = predict_whole(model, rows=row["rows"][:_DRAWN]), row["targets"][:_DRAWN]
        return [draw_roll(folder / "notes.png", true, found, self.encoder.columns)]

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        task = self.streamed_task(model, Forecaster)
        rolls = [row["rows"] for row in self.arrays(split)]
        return self.score(split, [np.stack([f.values[0] for f in task.run([roll])]) for roll in rolls])

    def baseline(self, split: str) -> Baseline:
        chain = NoteChain([roll for roll, _ in self.examples("train")])
        probabilities = [chain.probabilities(row["rows"]) for row in self.arrays(split)]
        return Baseline(chain.name, self.score(split, probabilities), chain.numbers)

    def score(self, split: str, predicted: Sequence[NDArray[Any]]) -> dict[str, float]:
        """Figures of the probabilities (T - 1, 88) of every piece, for its second to its last step.

        Returns:
            `nll` in nats a step, `baseline_nll` of the share of each note in the training split, `count` of steps.
        """
        true = np.concatenate([row["targets"] for row in self.arrays(split)])
        share = np.concatenate([roll for roll, _ in self.examples("train")]).mean(axis=0)
        return {
            "nll": _nll(true, np.concatenate(predicted)),
            "baseline_nll": _nll(true, np.broadcast_to(share, true.shape)),
            "count": float(len(true)),
        }


def _nll(true: NDArray[Any], probability: NDArray[Any]) -> float:
    """Mean over steps of the summed negative log-likelihood of independent notes, in nats."""
    p = np.clip(probability.astype(np.float64), _LOWEST, 1 - _LOWEST)
    return float(-np.where(true > 0, np.log(p), np.log1p(-p)).sum(axis=-1).mean())
