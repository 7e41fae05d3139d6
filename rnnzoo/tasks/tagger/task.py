"""Synchronized many-to-many: a label for each step."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.words import fit_words
from rnnzoo.data.source import Example
from rnnzoo.tasks.baselines import Baseline, FrequentTags
from rnnzoo.tasks.class_figures import class_figures
from rnnzoo.tasks.evaluation import mean
from rnnzoo.tasks.labels import LabelTask
from rnnzoo.tasks.tagger.config import TaggedWordsConfig
from rnnzoo.tasks.tagger.entities import entity_types
from rnnzoo.tasks.tagger.swaps import Swaps
from streaming.runtime.decoding import Chain, viterbi
from streaming.runtime.tasks import Tagger
from streaming.runtime.tasks.schema import TaggerSpec
from streaming.runtime.text import WordEncoder

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.data.config import WordsConfig
    from rnnzoo.layers import CRF
    from rnnzoo.training.config import TrainingConfig
    from streaming.runtime.model import StreamingModel

# The label of a word that is no part of an entity.
_OUTSIDE = "O"


class TaggerTask(LabelTask):
    """Predicts a label for each word."""

    topology = "tagger"
    kinds = ("words-tags",)
    endless = True
    # The layer of the model in training that holds the scores of a chain.
    _chain: CRF | None = None

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: WordsConfig) -> WordEncoder:
        return fit_words([words for words, _ in train], {tag for _, tags in train for tag in tags}, config)

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> WordEncoder:
        return WordEncoder.from_files(files)

    @classmethod
    def spec(cls, config: Any, encoder: WordEncoder) -> TaggerSpec:
        return TaggerSpec(labels=len(encoder.labels), dataset=config.dataset)

    def encode(self, example: Example) -> Arrays:
        words, tags = example
        return {**self.encoder.encode(words), "targets": np.array([self.number(tag) for tag in tags], np.int32)}

    def augment(self, row: Arrays, rng: np.random.Generator) -> Arrays:
        has_swaps = isinstance(self.config, TaggedWordsConfig) and self.config.swap > 0
        return self._swaps.apply(row, rng) if has_swaps else row

    @functools.cached_property
    def _swaps(self) -> Swaps:
        return Swaps(self.config, self.encoder, self.examples("train"))

    def training_model(self, model: keras.Model, batch_size: int) -> keras.Model:
        self._chain = chain_layer(model)
        return model

    @property
    def has_entities(self) -> bool:
        """Whether the labels are those of the BIO scheme."""
        return any(label.startswith("B-") for label in self.labels)

    # Where nearly every word is outside, the accuracy of tagging nothing is hard to beat.
    @property
    def monitor(self) -> str:  # type: ignore[override]
        return "val_entity_f1" if self.has_entities else "val_accuracy"

    def callbacks(self) -> list[keras.callbacks.Callback]:
        from rnnzoo.tasks.callbacks import EpochFigures

        def figures(model: keras.Model) -> dict[str, float]:
            return {"entity_f1": self.evaluate(model, "dev")["entity_f1"]}

        return [EpochFigures(figures)] if self.has_entities else []

    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        if self._chain is None:
            return super().loss(config)
        from rnnzoo.layers import CRFLoss

        return CRFLoss(self._chain)

    def smooths_labels(self, model: keras.Model) -> bool:
        return chain_layer(model) is None

    def best(self, model: keras.Model, split: str, batch_size: int) -> list[NDArray[Any]]:
        chain = chain_layer(model)
        if chain is None:
            return super().best(model, split, batch_size)
        scores, outputs = best_path(chain), self.predict(model, split, batch_size)
        lengths = [len(row["targets"]) for row in self.arrays(split)]
        return [viterbi(row[:length], scores)[0] for row, length in zip(outputs, lengths, strict=True)]

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        return self.score(split, self._predict_tags(model, split, batch_size))

    def _predict_tags(self, model: keras.Model, split: str, batch_size: int = 64) -> list[list[str]]:
        best, lengths = self.best(model, split, batch_size), [len(words) for words, _ in self.examples(split)]
        return [[self.labels[k] for k in row[:n]] for row, n in zip(best, lengths, strict=True)]

    def classes(self, model: keras.Model, split: str) -> dict[str, dict[str, float]]:
        """Figures of each tag, or with the BIO scheme of each type of entity."""
        true, predicted = [tags for _, tags in self.examples(split)], self._predict_tags(model, split)
        if self.has_entities:
            return {kind: figures for kind, figures in entity_types(true, predicted).items() if kind}
        flat = [[[tag] for tags in rows for tag in tags] for rows in (true, predicted)]
        return class_figures(*flat)

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """Draw the confusion of tags, or with the BIO scheme of types of true and predicted entities."""
        from rnnzoo.tasks.drawing import draw_confusion

        true = [tag for _, tags in self.examples(split) for tag in tags]
        predicted = [tag for tags in self._predict_tags(model, split) for tag in tags]
        if self.has_entities:
            pairs = [pair for pair in zip(true, predicted, strict=True) if pair != (_OUTSIDE, _OUTSIDE)]
            true, predicted = ([tag.partition("-")[2] or tag for tag in side] for side in zip(*pairs, strict=True))
        return [draw_confusion(folder / "confusion.png", true, predicted)]

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        task = self.streamed_task(model, Tagger)
        if not reset:
            rows = self.endless_outputs(model, split)
            paths = [np.argmax(row, -1) if task.chain is None else viterbi(row, task.chain)[0] for row in rows]
            return self.score(split, [[self.labels[k] for k in path] for path in paths])
        return self.score(split, [[token.tag for token in task.tag(words)] for words, _ in self.examples(split)])

    def baseline(self, split: str) -> Baseline:
        tags = FrequentTags(self.examples("train"))
        figures = self.score(split, [tags.tag(words) for words, _ in self.examples(split)])
        return Baseline(tags.name, figures, tags.numbers)

    def score(self, split: str, predicted: Sequence[Sequence[str]]) -> dict[str, float]:
        """Figures of the tags of every example, in order.

        Returns:
            `accuracy` over words, `unseen_accuracy` over words outside the vocabulary, `count` of words. Where the
            labels are those of the BIO scheme, before them `entity_f1`, `entity_precision` and `entity_recall`:
            an entity counts where its label and both its ends are right.
        """
        flat = [
            (word.lower() in self.encoder.words, tag == guess)
            for (words, tags), guesses in zip(self.examples(split), predicted, strict=True)
            for word, tag, guess in zip(words, tags, guesses, strict=True)
        ]
        seen, right = np.array(flat, bool).T
        # What comes first is what models are compared by.
        figures = {}
        if self.has_entities:
            whole = entity_types([tags for _, tags in self.examples(split)], predicted)[""]
            figures = {f"entity_{name}": whole[name] for name in ("f1", "precision", "recall")}
        return figures | {"accuracy": mean(right), "unseen_accuracy": mean(right[~seen]), "count": float(len(right))}


def chain_layer(model: keras.Model) -> CRF | None:
    """The CRF of a model, None where each label is found by itself."""
    from rnnzoo.layers import CRF

    return next((layer for layer in model.layers if isinstance(layer, CRF)), None)


def best_path(layer: CRF) -> Chain:
    """The scores of a CRF as the device's Viterbi decoder takes them."""
    scores = {name: np.array(rows, np.float64) for name, rows in layer.chain_scores().items()}
    return Chain(**{name: np.where(np.isnan(rows), -np.inf, rows) for name, rows in scores.items()})
