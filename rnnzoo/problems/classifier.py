"""Many-to-one: a label for a whole sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnzoo.data.datasets import Example
from rnnzoo.data.datasets.clinc import OUT_OF_SCOPE
from rnnzoo.data.words import fit_words
from rnnzoo.errors import DataError
from rnnzoo.problems.base import mean
from rnnzoo.problems.labels import LabelProblem
from streaming.runtime.tasks import Classifier, task_for
from streaming.runtime.text import WordEncoder

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.data.config import WordsConfig
    from streaming.runtime.model import StreamingModel


class ClassifierProblem(LabelProblem):
    """Words in, one label out."""

    topology = "classifier"
    kinds = ("text-label",)
    exact_lengths = True

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: WordsConfig) -> WordEncoder:
        return fit_words([words for words, _ in train], {label for _, label in train}, config)

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes]) -> WordEncoder:
        return WordEncoder.from_files(files)

    def encode(self, example: Example) -> Arrays:
        words, label = example
        return {**self.encoder.encode(words), "targets": np.array(self.number(label), np.int32)}

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        return self.score(split, [self.labels[int(k)] for k in self.best(model, split, batch_size)])

    def evaluate_stream(self, model: StreamingModel, split: str) -> dict[str, float]:
        task: Any = task_for(model)
        if not isinstance(task, Classifier):
            found = type(task).__name__.lower()
            raise DataError(f"data set {self.config.dataset!r} needs a classifier; the model is a {found}")
        return self.score(split, [task.classify(words).label for words, _ in self.examples(split)])

    def score(self, split: str, predicted: Sequence[str]) -> dict[str, float]:
        """Figures of the label of every example, in order.

        Returns:
            `accuracy` and `count`; where the labels know out-of-scope sequences, also `in_scope_accuracy` and
            `out_of_scope_recall`.
        """
        true = [label for _, label in self.examples(split)]
        right = np.array([a == b for a, b in zip(true, predicted, strict=True)])
        found = {"accuracy": mean(right), "count": float(len(right))}
        if OUT_OF_SCOPE in self.labels:
            outside = np.array([label == OUT_OF_SCOPE for label in true])
            found["in_scope_accuracy"] = mean(right[~outside])
            found["out_of_scope_recall"] = mean(right[outside])
        return found
