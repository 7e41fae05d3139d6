"""Drawings as rows of movements: predicts a density of the next one, and what the pen does after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.rows import RowEncoder
from rnnzoo.data.source import Example
from rnnzoo.tasks.base import Task
from rnnzoo.tasks.baselines import Baseline
from rnnzoo.tasks.sketcher.chain import MovementChain
from streaming.runtime.decoding.mixtures import PEN_DOWN, PEN_END, PEN_UP, PenMixture
from streaming.runtime.tasks import Sketcher
from streaming.runtime.tasks.schema import SketcherSpec
from streaming.runtime.tasks.strokes import BEGINNING

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.tasks.sketcher.config import StrokesConfig
    from rnnzoo.training.config import TrainingConfig
    from streaming.runtime.model import StreamingModel

_COLUMNS = ("dx", "dy", "lift")
# Drawings of a picture.
_DRAWN = 24


class SketcherTask(Task):
    """The density of each point of a drawing, given those before it (Graves 2013)."""

    topology = "sketcher"
    kinds = ("strokes",)
    monitor = "val_loss"
    higher_is_better = False
    padding: ClassVar[Mapping[str, float]] = {}

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: StrokesConfig) -> RowEncoder:
        # One scale for both directions, or a drawing would be turned with a stretch.
        scale = float(np.concatenate([points[:, :2] for points, _ in train]).std())
        return RowEncoder((0.0, 0.0, 0.0), (scale, scale, 1.0), columns=_COLUMNS)

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> RowEncoder:
        return RowEncoder.from_files(files)

    @classmethod
    def spec(cls, config: Any, encoder: RowEncoder) -> SketcherSpec:
        return SketcherSpec(
            columns=encoder.columns,
            scaler=encoder.scaler,
            floor=config.floor,
            temperature=config.temperature,
            max_length=config.max_length,
        )

    def encode(self, example: Example) -> Arrays:
        rows = self.encoder.encode(example[0])["rows"]
        pens = np.where(rows[:, 2] > 0, PEN_UP, PEN_DOWN)
        pens[-1] = PEN_END
        return {
            "rows": np.concatenate([[BEGINNING], rows[:-1]]).astype(np.float32),
            "targets": np.concatenate([rows[:, :2], pens[:, None]], axis=1).astype(np.float32),
            "weights": np.ones(len(rows), np.float32),
        }

    def augment(self, row: Arrays, rng: np.random.Generator) -> Arrays:
        """The drawing turned and stretched, as the configuration says."""
        config = self.config
        angle = np.deg2rad(rng.uniform(-config.rotate, config.rotate))
        wide, high = 1 + rng.uniform(-config.stretch, config.stretch, 2)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        change = (np.diag([wide, high]) @ turn).astype(np.float32)
        changed = {name: row[name].copy() for name in ("rows", "targets")}
        for values in changed.values():
            values[:, :2] = values[:, :2] @ change
        return {**row, **changed}

    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        from rnnzoo.tasks.losses import PenMixtureLoss

        return PenMixtureLoss(self.config.floor)

    def metrics(self) -> list[keras.metrics.Metric]:
        return []

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        return self.score(split, self.predict(model, split, batch_size))

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        self.streamed_task(model, Sketcher)
        outputs = []
        for row in self.arrays(split):
            stream = model.create_stream()
            outputs.append(np.concatenate([np.asarray(stream.feed(row["rows"])), np.asarray(stream.finish())]))
        return self.score(split, outputs)

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """Characters that the model draws at the temperature of the device."""
        from rnnzoo.tasks.drawing import draw_sketches

        return [draw_sketches(folder / "drawings.png", self._drawings(model, _DRAWN))]

    def baseline(self, split: str) -> Baseline:
        chain = MovementChain([self.encode(example) for example in self.examples("train")], self.config.floor)
        scores = [chain.log_densities(row) for row in self.arrays(split)]
        return Baseline(chain.name, _figures(scores), chain.numbers)

    def score(self, split: str, outputs: Sequence[NDArray[Any]]) -> dict[str, float]:
        """Figures of outputs (T, 6 M + 3), after each point but the last, of all drawings.

        Returns:
            `nats`, the mean negative log density of a point, movements in units of the scale; `movement_nats` and
            `pen_nats`, of which it is the sum; `count` of points.
        """
        scores = []
        for row, output in zip(self.arrays(split), outputs, strict=True):
            targets = row["targets"]
            mixture = PenMixture.read(output[: len(targets)], self.config.floor)
            pens = targets[:, 2].astype(int)
            moves = mixture.log_density(targets[:, :2].astype(np.float64))
            scores.append(np.stack([moves, mixture.pens[np.arange(len(pens)), pens]], axis=1))
        return _figures(scores)

    def _drawings(self, model: keras.Model, count: int) -> list[NDArray[Any]]:
        """Drawings (N, 3) by the Keras model, in the units of the data."""
        from rnnzoo.tasks.carried import carried_twin

        twin, scale = carried_twin(model, count), np.array(self.encoder.scale)
        rngs = [np.random.default_rng((0, i)) for i in range(count)]
        rows, ended = np.tile(np.array(BEGINNING, np.float32), (count, 1)), np.zeros(count, bool)
        drawings: list[list[NDArray[Any]]] = [[] for _ in rngs]
        for _ in range(self.config.max_length):
            outputs = np.asarray(twin.predict_on_batch({"rows": rows[:, None]}))[:, 0]
            for i in np.flatnonzero(~ended):
                move = PenMixture.read(outputs[i], self.config.floor).draw(rngs[i], self.config.temperature)
                rows[i] = move.dx, move.dy, move.pen != PEN_DOWN
                drawings[i].append(rows[i] * scale)
                ended[i] = move.pen == PEN_END
            if ended.all():
                break
        return [np.stack(points) for points in drawings]


def _figures(scores: Sequence[NDArray[Any]]) -> dict[str, float]:
    """Figures of log densities (T, 2) of movements and pens."""
    together = np.concatenate(scores)
    moves, pens = -together.mean(axis=0)
    return {
        "nats": float(moves + pens),
        "movement_nats": float(moves),
        "pen_nats": float(pens),
        "count": float(len(together)),
    }
