"""Examples, encoder and batches of one data set."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnzoo.data.config import DataConfig
from rnnzoo.data.sources import Example, Source, read_source
from rnnzoo.errors import DataError
from streaming.runtime.text import WordEncoder

if TYPE_CHECKING:
    import tensorflow as tf

# Sequences are padded to one of these lengths, so that a compiled step meets few shapes.
_LENGTHS = (4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512)


# Inputs by name (B, T, ...), labels (B, T) or (B,), weights of the same shape.
Batch = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]


@dataclass(frozen=True)
class TaskData:
    """A data set as a model takes it.

    Args:
        kind: `tagger` (a label for each word) or `classifier` (one for all words).
        encoder: words to arrays; its vocabularies come from the training split only.
        splits: examples of `train`, `dev` and `test`.
        dataset_name: where the examples come from.
        seed: orders the training batches where `dataset` is given no other.
    """

    kind: str
    encoder: WordEncoder
    splits: dict[str, list[Example]]
    dataset_name: str
    seed: int = 0
    _encoded: dict[str, list[dict[str, np.ndarray]]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the model's outputs are called, in their order."""
        return self.encoder.labels

    @property
    def task(self) -> dict[str, Any]:
        """What a streaming artifact says about its task."""
        return {"kind": self.kind, "labels": len(self.labels), "dataset": self.dataset_name}

    def examples(self, split: str) -> list[Example]:
        """Pairs of words and their labels (a list for a tagger, one string for a classifier).

        Raises:
            DataError: there is no such split.
        """
        if split not in self.splits:
            raise DataError(f"unknown split {split!r}; there are {', '.join(self.splits)}")
        return self.splits[split]

    def dataset(self, split: str, batch_size: int, training: bool, seed: int | None = None) -> tf.data.Dataset:
        """Batches of sequences of like length, padded at the end with zeros.

        A classifier reads a whole sequence, padding too: its batches hold sequences of one length.

        Args:
            split: `train`, `dev` or `test`.
            batch_size: sequences in a batch; the last of each length may be smaller.
            training: shuffle sequences and batches anew at each pass, by `seed` and the number of the pass.
            seed: None: the seed of the data.

        Returns:
            Elements (inputs by name (B, T, ...), labels (B, T) or (B,), weights of the same shape: 0 at
            padding and at labels that the training split does not have).
        """
        import tensorflow as tf

        rows = self._arrays(split)
        passes = itertools.count()

        def generate() -> Iterator[Batch]:
            chosen = (self.seed if seed is None else seed, next(passes))
            rng = np.random.default_rng(chosen) if training else None
            return (batch for _, batch in self.batches(split, batch_size, rng))

        targets = (None, None) if self.kind == "tagger" else (None,)
        shapes = {name: (None, None, *rows[0][name].shape[1:]) for name in self.encoder.inputs}
        inputs = {name: tf.TensorSpec(shape, tf.int32) for name, shape in shapes.items()}
        signature = (inputs, tf.TensorSpec(targets, tf.int32), tf.TensorSpec(targets, tf.float32))
        made = tf.data.Dataset.from_generator(generate, output_signature=signature)
        count = len(self._chosen(split, batch_size, None))
        return made.apply(tf.data.experimental.assert_cardinality(count)).prefetch(4)

    def batches(
        self, split: str, batch_size: int, rng: np.random.Generator | None = None
    ) -> Iterator[tuple[np.ndarray, Batch]]:
        """The batches as arrays, each with the numbers of its examples; shuffled where `rng` is given."""
        rows = self._arrays(split)
        for chosen in self._chosen(split, batch_size, rng):
            yield chosen, self._collate([rows[i] for i in chosen])

    def _chosen(self, split: str, size: int, rng: np.random.Generator | None) -> list[np.ndarray]:
        lengths = np.array([len(row["words"]) for row in self._arrays(split)])
        return _batch_indices(lengths, size, rng, exact=self.kind == "classifier")

    def _arrays(self, split: str) -> list[dict[str, np.ndarray]]:
        if split not in self._encoded:
            number = {label: i for i, label in enumerate(self.labels)}
            made = []
            for words, label in self.examples(split):
                ids = [number.get(one, -1) for one in ([label] if isinstance(label, str) else label)]
                made.append({**self.encoder.encode(words), "labels": np.array(ids, np.int32)})
            self._encoded[split] = made
        return self._encoded[split]

    def _collate(self, rows: list[dict[str, np.ndarray]]) -> Batch:
        longest = max(len(row["words"]) for row in rows)
        rounded = next((n for n in _LENGTHS if n >= longest), longest)
        length = rounded if self.kind == "tagger" else longest
        inputs = {name: _pad([row[name] for row in rows], length, 0) for name in self.encoder.inputs}
        labels = _pad([row["labels"] for row in rows], length if self.kind == "tagger" else 1, -1)
        if self.kind == "classifier":
            labels = labels[:, 0]
        return inputs, np.maximum(labels, 0), (labels >= 0).astype(np.float32)


def load(config: DataConfig, *, seed: int = 0) -> TaskData:
    """Read a data set and fit its encoder on the training split.

    Raises:
        DataError: the data set is unknown, cannot be found, or is malformed.
    """
    return from_source(read_source(config.dataset, config.limit), config, seed=seed)


def from_source(source: Source, config: DataConfig, *, seed: int = 0) -> TaskData:
    """The same from examples already read."""
    train = source.splits["train"]
    labels = sorted({one for _, label in train for one in ([label] if isinstance(label, str) else label)})
    if "words" not in config.inputs:
        raise DataError(f"data.inputs must name words; received {list(config.inputs)}")
    encoder = WordEncoder.fit(
        [words for words, _ in train],
        labels,
        inputs=config.inputs,
        min_count=config.min_count,
        affix_min_count=config.affix_min_count,
        max_word_length=config.max_word_length,
    )
    return TaskData(source.kind, encoder, source.splits, config.dataset, seed)


def _batch_indices(lengths: np.ndarray, size: int, rng: np.random.Generator | None, exact: bool) -> list[np.ndarray]:
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    cuts = np.flatnonzero(np.diff(lengths[order])) + 1 if exact else np.array([], int)
    batches = [group[i : i + size] for group in np.split(order, cuts) for i in range(0, len(group), size)]
    if rng is not None:
        batches = [batches[i] for i in rng.permutation(len(batches))]
    return batches


def _pad(rows: list[np.ndarray], length: int, value: int) -> np.ndarray:
    out = np.full((len(rows), length, *rows[0].shape[1:]), value, np.int32)
    for target, row in zip(out, rows, strict=True):
        target[: len(row)] = row
    return out
