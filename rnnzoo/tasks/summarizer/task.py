"""Extractive summaries: a score for each sentence as it ends, and the sentence with the highest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.words import fit_words
from rnnzoo.data.source import Example
from rnnzoo.errors import DataError
from rnnzoo.tasks.baselines import Baseline, RidgeWords
from rnnzoo.tasks.evaluation import mean, predict_whole
from rnnzoo.tasks.labels import LabelTask
from rnnzoo.tasks.summarizer.model import END
from streaming.runtime.tasks import Tagger
from streaming.runtime.tasks.schema import TaggerSpec
from streaming.runtime.text import WordEncoder

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.data.config import WordsConfig
    from rnnzoo.training.config import TrainingConfig
    from streaming.runtime.model import StreamingModel

# Labels of ends of sentences: what the summary is, and what it is not.
_LABELS = ("other", "summary")


class SummarizerTask(LabelTask):
    """Scores the sentences of a text; the device class is a `Tagger`, whose tag at the end of a sentence is its score.

    A text is one sequence of words in which `</s>` ends each sentence.
    """

    topology = "summarizer"
    kinds = ("sentences-scores",)
    monitor = "val_rouge_1"

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: WordsConfig) -> WordEncoder:
        return fit_words(
            [_joined(sentences) for sentences, _ in train], _LABELS, dataclasses.replace(config, inputs=("words",))
        )

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> WordEncoder:
        return WordEncoder.from_files(files)

    @classmethod
    def spec(cls, config: Any, encoder: WordEncoder) -> TaggerSpec:
        return TaggerSpec(labels=len(encoder.labels), dataset=config.dataset)

    def encode(self, example: Example) -> Arrays:
        """Targets are the scores at the ends of sentences, and -1 at all other words.

        Raises:
            DataError: there is no sentence, or not a score for each.
        """
        sentences, scores = example
        if not len(sentences) or len(sentences) != len(scores):
            raise DataError(
                f"a summarizer learns from a sentence or more with a score each; received {len(sentences)} sentences "
                f"and {len(scores)} scores"
            )
        words = _joined(sentences)
        targets = np.full(len(words), -1, np.float32)
        targets[_ends(sentences)] = scores
        return {**self.encoder.encode(words), "targets": targets, "weights": (targets >= 0).astype(np.float32)}

    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        from rnnzoo.tasks.losses import ListwiseScores

        return ListwiseScores()

    def smooths_labels(self, model: keras.Model) -> bool:
        return False

    def metrics(self) -> list[keras.metrics.Metric]:
        return []

    def callbacks(self) -> list[keras.callbacks.Callback]:
        from rnnzoo.tasks.callbacks import EpochFigures

        return [EpochFigures(lambda model: {"rouge_1": self.evaluate(model, "dev")["rouge_1"]})]

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        outputs = self.predict(model, split, batch_size)
        chosen = [
            int(_margins(row[_ends(sentences)]).argmax())
            for row, (sentences, _) in zip(outputs, self.examples(split), strict=True)
        ]
        return self.score(split, chosen)

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        task = self.streamed_task(model, Tagger)
        chosen = []
        for sentences, _ in self.examples(split):
            tagged = [word for word in task.tag(_joined(sentences)) if word.word == END]
            chosen.append(int(np.argmax([w.score if w.tag == _LABELS[1] else 1 - w.score for w in tagged])))
        return self.score(split, chosen)

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """The sentences of the first text with their scores."""
        from rnnzoo.tasks.drawing import draw_scores

        (sentences, scores), row = self.examples(split)[0], self.arrays(split)[0]
        margins = _margins(predict_whole(model, words=row["words"])[_ends(sentences)])
        share = np.exp(margins - margins.max())
        return [draw_scores(folder / "sentences.png", scores, share, [" ".join(words) for words in sentences])]

    def baseline(self, split: str) -> Baseline:
        train = [pair for sentences, scores in self.examples("train") for pair in _features(sentences, scores)]
        words = RidgeWords([given for given, _ in train], [value for _, value in train])
        chosen = [
            int(np.argmax(words.scores([given for given, _ in _features(sentences, scores)])))
            for sentences, scores in self.examples(split)
        ]
        return Baseline(words.name, self.score(split, chosen), words.numbers)

    def score(self, split: str, chosen: Sequence[int]) -> dict[str, float]:
        """Figures of the numbers of the chosen sentences.

        Returns:
            `rouge_1`: the mean score of the chosen sentences; the same of the first, the last and the best sentence;
            `count` of texts.
        """
        scores = [scores for _, scores in self.examples(split)]
        return {
            "rouge_1": mean(np.array([row[k] for row, k in zip(scores, chosen, strict=True)])),
            "first_rouge_1": mean(np.array([row[0] for row in scores])),
            "last_rouge_1": mean(np.array([row[-1] for row in scores])),
            "best_rouge_1": mean(np.array([row.max() for row in scores])),
            "count": float(len(scores)),
        }


def _joined(sentences: Sequence[Sequence[str]]) -> list[str]:
    """The words of a text with the ends of its sentences."""
    return [word for words in sentences for word in (*words, END)]


def _ends(sentences: Sequence[Sequence[str]]) -> NDArray[Any]:
    """Places of the ends of sentences in a text."""
    return np.cumsum([len(words) + 1 for words in sentences]) - 1


def _margins(logits: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(logits[:, 1] - logits[:, 0])


def _features(sentences: Sequence[Sequence[str]], scores: NDArray[Any]) -> list[tuple[list[str], float]]:
    """The words and the place of each sentence, and how far its score is above the mean of the text."""
    count = len(sentences)
    return [
        (
            [*{word.lower() for word in words}, f"<{min(i, 4)}>", f"<-{min(count - 1 - i, 4)}>"],
            float(score - scores.mean()),
        )
        for i, (words, score) in enumerate(zip(sentences, scores, strict=True))
    ]
