"""Answers to questions about stories: a classifier of the words of both, one model for all kinds of questions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rnnzoo.data.source import Example
from rnnzoo.errors import DataError
from rnnzoo.tasks.classifier.task import ClassifierTask
from rnnzoo.tasks.evaluation import mean
from rnnzoo.tasks.question_answerer.model import QUESTION, STATEMENT, last_only

if TYPE_CHECKING:
    import keras


class QuestionAnswererTask(ClassifierTask):
    """An answer to the question at the end of a story; the device class is a `Classifier`."""

    topology = "question_answerer"
    kinds = ("story-answer",)
    exact_lengths = False
    endless = False

    def __init__(self, config: Any, encoder: Any, splits: dict[str, list[Example]], seed: int = 0):
        for split, rows in splits.items():
            for number, (story, _) in enumerate(rows, 1):
                if not story.words or story.words[-1] != QUESTION:
                    raise DataError(
                        f"story {number} of split {split!r} has no question: expected {QUESTION!r} as its last word; "
                        f"received {' '.join(story.words[-4:]) or 'nothing'!r}"
                    )
        self.tasks = {split: [story.task for story, _ in rows] for split, rows in splits.items()}
        words = {split: [(story.words, answer) for story, answer in rows] for split, rows in splits.items()}
        super().__init__(config, encoder, words, seed)

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: Any) -> Any:
        encoder = super().fit_encoder([(story.words, answer) for story, answer in train], config)
        if missing := [mark for mark in (STATEMENT, QUESTION) if mark not in encoder.words]:
            raise DataError(f"{config.dataset!r} has no {missing[0]!r}: statements end with '.', questions with '?'")
        return encoder

    def training_model(self, model: keras.Model, batch_size: int) -> keras.Model:
        return last_only(model)

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        return super().evaluate(last_only(model), split, batch_size)

    def score(self, split: str, predicted: Sequence[Any]) -> dict[str, float]:
        """Figures of the answers, in order.

        Returns:
            Those of `ClassifierTask.score`, and the accuracy of each kind of question, such as `qa1_accuracy`.
        """
        figures, right = super().score(split, predicted), defaultdict(list)
        for (_, answer), guess, task in zip(self.examples(split), predicted, self.tasks[split], strict=True):
            right[task].append(answer == guess)
        return figures | {f"{task}_accuracy": mean(hits) for task, hits in right.items() if task}
