"""Synchronized many-to-many: a label for each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnzoo.data.datasets import Example
from rnnzoo.data.words import fit_words
from rnnzoo.errors import DataError
from rnnzoo.problems.base import mean
from rnnzoo.problems.labels import LabelProblem
from streaming.runtime.tasks import Tagger, task_for
from streaming.runtime.text import WordEncoder

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.data.config import WordsConfig
    from streaming.runtime.model import StreamingModel


class TaggerProblem(LabelProblem):
    """Words in, a label for each of them out."""

    topology = "tagger"
    kinds = ("words-tags",)
    endless = True

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: WordsConfig) -> WordEncoder:
        return fit_words([words for words, _ in train], {tag for _, tags in train for tag in tags}, config)

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> WordEncoder:
        return WordEncoder.from_files(files)

    @classmethod
    def task(cls, config: Any, encoder: WordEncoder) -> dict[str, Any]:
        return {**super().task(config, encoder), "kind": "tagger"}

    def encode(self, example: Example) -> Arrays:
        words, tags = example
        return {**self.encoder.encode(words), "targets": np.array([self.number(tag) for tag in tags], np.int32)}

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        best, lengths = self.best(model, split, batch_size), [len(words) for words, _ in self.examples(split)]
        return self.score(split, [[self.labels[k] for k in row[:n]] for row, n in zip(best, lengths, strict=True)])

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        task: Any = task_for(model)
        if not isinstance(task, Tagger):
            found = type(task).__name__.lower()
            raise DataError(f"data set {self.config.dataset!r} needs a tagger; the model is a {found}")
        if not reset:
            rows = self.endless_outputs(model, split)
            return self.score(split, [[self.labels[k] for k in np.argmax(row, axis=-1)] for row in rows])
        return self.score(split, [[token.tag for token in task.tag(words)] for words, _ in self.examples(split)])

    def score(self, split: str, predicted: Sequence[Sequence[str]]) -> dict[str, float]:
        """Figures of the tags of every example, in order.

        Returns:
            `accuracy` over words, `unseen_accuracy` over words outside the vocabulary, `count` of words.
        """
        flat = [
            (word.lower() in self.encoder.words, tag == guess)
            for (words, tags), guesses in zip(self.examples(split), predicted, strict=True)
            for word, tag, guess in zip(words, tags, guesses, strict=True)
        ]
        seen, right = np.array(flat, bool).T
        return {"accuracy": mean(right), "unseen_accuracy": mean(right[~seen]), "count": float(len(right))}


class OneToOneProblem(TaggerProblem):
    """The same task for a model that sees one word at a time."""

    topology = "one_to_one"
