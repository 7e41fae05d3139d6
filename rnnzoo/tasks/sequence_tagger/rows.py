"""A label for every row of a recording, such as activities from a wearable; trained with a carried state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.signals import SignalEncoder
from rnnzoo.data.source import Example
from rnnzoo.errors import DataError
from rnnzoo.tasks.baselines import Baseline, NearestWindow
from rnnzoo.tasks.class_figures import class_figures, macro_f1
from rnnzoo.tasks.evaluation import mean, predict_whole
from rnnzoo.tasks.sequence_tagger.carried import CarriedRowsTask
from streaming.runtime.tasks import SequenceTagger

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.tasks.sequence_tagger.config import SequenceTaggerData
    from streaming.runtime.model import StreamingModel


class RowTaggerTask(CarriedRowsTask):
    """Predicts the label of the last row of each frame; rows without a label have weight 0."""

    kinds = ("rows-tags",)

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: SequenceTaggerData) -> SignalEncoder:
        labels = sorted({label for _, tags in train for label in tags if label})
        if not labels:
            raise DataError(f"no row of train in {config.dataset!r} has a label: check the column data.label")
        encoder = SignalEncoder.fit([rows for rows, _ in train], config, labels)
        return SignalEncoder(encoder.mean, encoder.scale, encoder.labels, encoder.columns, config.rows_in_frame)

    def encode(self, example: Example) -> Arrays:
        rows, tags = example
        frames = len(tags) // self.frame
        targets = np.array([self.number(tag) for tag in _of_frames(tags, self.frame)], np.int32)
        return {**self.encoder.encode(rows[: frames * self.frame]), "targets": targets}

    def label_weights(self) -> NDArray[Any]:
        held = Counter(label for row in self.arrays("train") for label in row["targets"].tolist())
        most = max(count for label, count in held.items() if label >= 0)
        return np.array([np.sqrt(most / held.get(i, most)) for i in range(len(self.labels))], np.float32)

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        return self.score(split, self._tags(model, split))

    def classes(self, model: keras.Model, split: str) -> dict[str, dict[str, float]]:
        true, predicted = self._pairs(split, self._tags(model, split))
        return class_figures([[label] for label in true], [[label] for label in predicted])

    def _tags(self, model: keras.Model, split: str) -> list[list[str]]:
        best = (predict_whole(model, rows=row["rows"]).argmax(axis=-1) for row in self.arrays(split))
        return [[self.labels[k] for k in numbers] for numbers in best]

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        from rnnzoo.tasks.drawing import draw_confusion

        return [draw_confusion(folder / "confusion.png", *self._pairs(split, self._tags(model, split)))]

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        task = self.streamed_task(model, SequenceTagger)
        return self.score(split, [[row.tag for row in task.tag(rows)] for rows, _ in self.examples(split)])

    def baseline(self, split: str) -> Baseline:
        train = self.examples("train")
        windows = NearestWindow([rows for rows, _ in train], [tags for _, tags in train])
        predicted = [
            _of_frames(windows.labels(rows)[: len(tags) // self.frame * self.frame], self.frame)
            for rows, tags in self.examples(split)
        ]
        return Baseline(windows.name, self.score(split, predicted), windows.numbers)

    def score(self, split: str, predicted: Sequence[Sequence[Any]]) -> dict[str, float]:
        """Figures of the labels of all frames that have one.

        Returns:
            `accuracy`, `macro_f1` over labels, and `count` of frames.
        """
        true, guesses = self._pairs(split, predicted)
        right = [a == b for a, b in zip(true, guesses, strict=True)]
        figures = class_figures([[label] for label in true], [[label] for label in guesses])
        return {"accuracy": mean(right), "macro_f1": macro_f1(figures), "count": float(len(right))}

    def _pairs(self, split: str, predicted: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
        """The true labels of frames that have one, and those that were found."""
        true = [_of_frames(tags, self.frame) for _, tags in self.examples(split)]
        pairs = [
            pair
            for tags, guess in zip(true, predicted, strict=True)
            for pair in zip(tags, guess, strict=True)
            if pair[0]
        ]
        return [label for label, _ in pairs], [label for _, label in pairs]


def _of_frames(tags: Sequence[str], frame: int) -> Sequence[str]:
    """The label of the last row of each whole frame."""
    return tags[frame - 1 :: frame]
