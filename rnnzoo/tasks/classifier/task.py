"""Many-to-one: a label, or several, for a whole sequence of words or of rows of numbers."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.rows import RowEncoder
from rnnzoo.data.encoders.words import fit_words
from rnnzoo.data.sets.clinc_oos import OUT_OF_SCOPE
from rnnzoo.data.source import Example
from rnnzoo.errors import DataError
from rnnzoo.tasks.baselines import Baseline, LabelNGrams, NaiveBayes, NearestMean
from rnnzoo.tasks.class_figures import class_figures, macro_f1
from rnnzoo.tasks.classifier.augmenting import augmented, pace_of, paced
from rnnzoo.tasks.evaluation import mean
from rnnzoo.tasks.labels import LabelTask
from streaming.runtime.tasks import Classifier, SensorClassifier
from streaming.runtime.tasks.schema import ClassifierSpec
from streaming.runtime.text import WordEncoder

# The share of its rows after which a training batch may end.
_EARLIEST = 0.25

if TYPE_CHECKING:
    from typing import Self

    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.data.config import RowsConfig, WordsConfig
    from rnnzoo.data.source import Source
    from rnnzoo.training.config import TrainingConfig
    from streaming.runtime.model import StreamingModel

_ENCODERS: dict[str, Any] = {"words": WordEncoder, "rows": RowEncoder}


class ClassifierTask(LabelTask):
    """A label, or several, for a sequence."""

    topology = "classifier"
    kinds: ClassVar[tuple[str, ...]] = ("text-label", "text-labels", "rows-label")
    exact_lengths = True

    @property
    def endless(self) -> bool:  # type: ignore[override]
        # A stream of windows answers when one is full, whatever recording it ends in.
        return getattr(self.config, "window", None) is None

    @property
    def monitor(self) -> str:  # type: ignore[override]
        if self.config.multi_label:
            return "val_macro_f1"
        return "val_balanced_accuracy" if self.config.balance else "val_accuracy"

    @classmethod
    def from_source(
        cls, source: Source, config: WordsConfig | RowsConfig, *, encoder: Any = None, seed: int = 0
    ) -> Self:
        received = "rows" if source.kind.startswith("rows") else "words"
        if source.kind in cls.kinds and received != config.input:
            raise DataError(f"{config.dataset!r} holds {received}, not {config.input}: say data.input={received}")
        several = source.kind.endswith("-labels")
        if source.kind in cls.kinds and several != config.multi_label:
            raise DataError(
                f"{config.dataset!r} has {'any number of labels' if several else 'one label'} a sequence: "
                f"say data.multi_label={str(several).lower()}"
            )
        return super().from_source(source, config, encoder=encoder, seed=seed)

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: Any) -> Any:
        inputs = [given for given, _ in train]
        labels = sorted({one for _, label in train for one in _listed(label)})
        if config.input == "rows":
            return RowEncoder.fit(inputs, config, labels)
        # The model reads words; what words are made of would travel along for nothing.
        return fit_words(inputs, labels, dataclasses.replace(config, inputs=("words",)))

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> Any:
        return _ENCODERS[config.input].from_files(files)

    @classmethod
    def spec(cls, config: Any, encoder: Any) -> ClassifierSpec:
        rows = {"scaler": encoder.scaler, **encoder.table(config)} if config.input == "rows" else {}
        several = {"multi_label": True, "threshold": config.threshold} if config.multi_label else {}
        return ClassifierSpec(len(encoder.labels), config.input, **several, **rows)

    @classmethod
    def conversion(cls, config: Any) -> dict[str, Any]:
        """A model that was trained on windows streams in windows."""
        window = getattr(config, "window", None)
        return {} if window is None else {"window": window, "hop": config.step}

    def encode(self, example: Example) -> Arrays:
        given, label = example
        if not self.config.multi_label:
            arrays = {**self.encoder.encode(given), "targets": np.array(self.number(label), np.int32)}
            return arrays if not self.config.balance else self._weighed(arrays)
        held = np.zeros(len(self.labels), np.float32)
        held[[number for one in label if (number := self.number(one)) >= 0]] = 1
        return {**self.encoder.encode(given), "targets": held, "weights": np.array(1, np.float32)}

    def _weighed(self, arrays: Arrays) -> Arrays:
        """An encoded example with the weight of its label; one that the training split lacks weighs nothing."""
        number = int(arrays["targets"])
        weight = self._label_weights[number] if number >= 0 else 0.0
        return {**arrays, "targets": np.maximum(arrays["targets"], 0), "weights": np.array(weight, np.float32)}

    @functools.cached_property
    def _label_weights(self) -> NDArray[Any]:
        """Weights of labels (L,), of mean 1 over the training split."""
        counts = Counter(label for _, label in self.examples("train"))
        held = np.array([counts[label] for label in self.labels], np.float64)
        # A part of the split may lack a label.
        weights = np.maximum(held, 1) ** -self.config.balance
        return weights * held.sum() / (weights * held).sum()

    def augment_batch(self, rows: list[Arrays], rng: np.random.Generator) -> list[Arrays]:
        """Rows of numbers change as `ClassifierRows` says; those of a batch keep one length."""
        config = self.config
        if config.input != "rows" or not (config.planes or config.jitter or config.early):
            return rows
        inputs = [row["rows"] for row in rows]
        if config.pace:
            factor = pace_of(config, rng)
            inputs = [paced(given, factor, config, self.encoder) for given in inputs]
        if config.early and rng.random() < config.early:
            count = max(1, round(rng.uniform(_EARLIEST, 1) * len(inputs[0])))
            inputs = [given[:count] for given in inputs]
        return [
            {**row, "rows": augmented(given, config, self.encoder, rng)}
            for row, given in zip(rows, inputs, strict=True)
        ]

    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        if not self.config.multi_label:
            return super().loss(config)
        import keras

        return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=config.label_smoothing)

    def metrics(self) -> list[keras.metrics.Metric]:
        from rnnzoo.tasks.losses import BalancedAccuracy, MacroF1

        if self.config.multi_label:
            return [MacroF1(self.config.threshold)]
        balanced = [BalancedAccuracy(len(self.labels))] if self.config.balance else []
        return [*super().metrics(), *balanced]

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        if not self.config.multi_label:
            figures = self.score(split, [self.labels[int(k)] for k in self.best(model, split, batch_size)])
            return figures | self._early(model, split, batch_size)
        return self._score_logits(split, np.stack(self.predict(model, split, batch_size)))

    def classes(self, model: keras.Model, split: str) -> dict[str, dict[str, float]]:
        true = [_listed(label) for _, label in self.examples(split)]
        if self.config.multi_label:
            predicted = self._held(np.stack(self.predict(model, split, 64)))
        else:
            predicted = [[self.labels[int(k)]] for k in self.best(model, split, 64)]
        return class_figures(true, predicted)

    def _held(self, logits: NDArray[Any]) -> list[list[str]]:
        """The labels of several that hold, by logits (N, L)."""
        return [[self.labels[k] for k in np.flatnonzero(row)] for row in logits >= _logit(self.config.threshold)]

    def _score_logits(self, split: str, logits: NDArray[Any]) -> dict[str, float]:
        if not self.config.multi_label:
            return self.score(split, [self.labels[k] for k in np.argmax(logits, axis=-1)])
        return self.score(split, self._held(logits))

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        task = self.streamed_task(model, (Classifier, SensorClassifier))
        if not reset:
            return self._score_logits(split, np.stack([row[-1] for row in self.endless_outputs(model, split)]))
        if shares := self._shares:
            return self._streamed_early(task, split, shares)
        predictions = [task.classify(given) for given, _ in self.examples(split)]
        return self.score(split, [guess.labels if self.config.multi_label else guess.label for guess in predictions])

    @property
    def _shares(self) -> tuple[float, ...]:
        """Parts of a sequence after which the accuracy is measured."""
        return tuple(getattr(self.config, "shares", ()))

    def _early(self, model: keras.Model, split: str, batch_size: int) -> dict[str, float]:
        """Accuracies of a Keras model that is given the beginnings of sequences."""
        figures = {}
        for share in self._shares:
            beginnings = [(given[: _part(len(given), share)], label) for given, label in self.examples(split)]
            task = type(self)(self.config, self.encoder, {split: beginnings}, self.seed)
            guesses = [self.labels[int(k)] for k in task.best(model, split, batch_size)]
            right = [guess == label for guess, (_, label) in zip(guesses, beginnings, strict=True)]
            figures[_early_name(share)] = mean(right)
        return figures

    def _streamed_early(self, task: SensorClassifier, split: str, shares: Sequence[float]) -> dict[str, float]:
        """The same of streams, each read once."""
        last: list[str] = []
        right: dict[float, list[bool]] = {share: [] for share in shares}
        for given, label in self.examples(split):
            guesses = [event.label for event in task.run([given])]
            last.append(guesses[-1])
            for share in shares:
                right[share].append(guesses[_part(len(given), share) - 1] == label)
        return self.score(split, last) | {_early_name(share): mean(hits) for share, hits in right.items()}

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """Confusion of labels that exclude each other; precision and recall of those that do not."""
        from rnnzoo.tasks.drawing import draw_classes, draw_confusion

        if self.config.multi_label:
            return [draw_classes(folder / "labels.png", self.classes(model, split))]
        predicted = [self.labels[int(k)] for k in self.best(model, split, 64)]
        return [draw_confusion(folder / "confusion.png", [label for _, label in self.examples(split)], predicted)]

    def baseline(self, split: str) -> Baseline:
        (given, labels), (asked, _) = (zip(*self.examples(name), strict=True) for name in ("train", split))
        if self.config.input == "rows":
            means = NearestMean(given, labels)
            return Baseline(means.name, self.score(split, means.labels(asked)), means.numbers)
        if all(len(word) == 1 for text in given for word in text):
            grams = LabelNGrams([_lower(text) for text in given], labels)
            return Baseline(grams.name, self.score(split, [grams.label(_lower(text)) for text in asked]), grams.numbers)
        held = np.array([[one in _listed(label) for one in self.labels] for label in labels])
        words = NaiveBayes([_lower(text) for text in given], held)
        figures = self._score_logits(split, words.logits([_lower(text) for text in asked]))
        return Baseline(words.name, figures, words.numbers)

    def score(self, split: str, predicted: Sequence[Any]) -> dict[str, float]:
        """Figures of the label (or labels) of every example, in order.

        Returns:
            `accuracy`, `macro_f1` over labels, and `count`; if there is a label for out-of-scope sequences, also
            `in_scope_accuracy` and `out_of_scope_recall`; if `data.balance` is set, also `balanced_accuracy`, the mean
            recall of the labels. With several labels: `macro_f1` and `micro_f1` instead of the accuracy.
        """
        true = [label for _, label in self.examples(split)]
        if self.config.multi_label:
            return _f1(self.labels, true, predicted)
        right = np.array([a == b for a, b in zip(true, predicted, strict=True)])
        by_label = class_figures([[label] for label in true], [[label] for label in predicted])
        figures = {"accuracy": mean(right), "macro_f1": macro_f1(by_label), "count": float(len(right))}
        if self.config.balance:
            held = [row["recall"] for row in by_label.values() if row["count"]]
            figures = {"balanced_accuracy": mean(np.array(held)), **figures}
        if OUT_OF_SCOPE in self.labels:
            outside = np.array([label == OUT_OF_SCOPE for label in true])
            figures["in_scope_accuracy"] = mean(right[~outside])
            figures["out_of_scope_recall"] = mean(right[outside])
        return figures


def _part(length: int, share: float) -> int:
    """Steps of the beginning of a sequence that is so much of it: one at least."""
    return max(1, round(length * share))


def _early_name(share: float) -> str:
    return f"accuracy_after_{share:.0%}".replace("%", "_percent")


def _listed(label: Any) -> Sequence[str]:
    return [label] if isinstance(label, str) else label


def _lower(words: Sequence[str]) -> list[str]:
    return [word.lower() for word in words]


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def _f1(labels: Sequence[str], true: Sequence[Any], predicted: Sequence[Any]) -> dict[str, float]:
    """F1 = 2 TP / (2 TP + FP + FN): the mean over labels (0 where a label is neither there nor guessed), and of all."""
    held, guessed = (np.array([[one in row for one in labels] for row in rows], bool) for rows in (true, predicted))
    hits, wrong = (held & guessed).sum(axis=0), (held ^ guessed).sum(axis=0)
    each = 2 * hits / np.maximum(2 * hits + wrong, 1)
    return {
        "macro_f1": float(each.mean()),
        "micro_f1": float(2 * hits.sum() / max(2 * hits.sum() + wrong.sum(), 1)),
        "count": float(len(true)),
    }
