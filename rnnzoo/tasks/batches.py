"""Encodes the examples of a task, and makes batches of them."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.batching import Arrays, batch_indices, collate
from rnnzoo.data.source import Example
from rnnzoo.errors import DataError, RnnzooError

if TYPE_CHECKING:
    import tensorflow as tf

# Inputs by name (B, T, ...), targets (B, T) or (B,), weights of the same shape.
Batch = tuple[Arrays, NDArray[Any], NDArray[Any]]
_TARGETS, _WEIGHTS = "targets", "weights"


class Batches(abc.ABC):
    """The examples of a data set as arrays and batches.

    Args:
        config: the data section of the experiment.
        encoder: raw input to arrays, and the labels; its files travel with the model to the device.
        splits: examples of `train`, `dev` and `test`, pairs of raw input and raw target.
        seed: of the order of training batches, unless `dataset` is given another.
    """

    # Whether a batch may only hold examples of one length, because the model reads padding as data.
    exact_lengths: ClassVar[bool] = False
    # Whether an example is a text that is cut into windows, of any length.
    windowed: ClassVar[bool] = False
    # What targets (and inputs, by name) are padded with; a target of -1 weighs nothing.
    padding: ClassVar[Mapping[str, float]] = {_TARGETS: -1}

    def __init__(self, config: Any, encoder: Any, splits: dict[str, list[Example]], seed: int = 0):
        self.config, self.encoder, self.splits, self.seed = config, encoder, splits, seed
        # What ended a pipeline: TensorFlow would only tell of it in its own words.
        self.failure: RnnzooError | None = None
        self._encoded: dict[str, list[Arrays]] = {}

    @abc.abstractmethod
    def encode(self, example: Example) -> Arrays:
        """One example as arrays: each input (T, ...) by its name, `targets`, and `weights` where they differ."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the model's inputs."""
        return tuple(self.encoder.inputs)

    def examples(self, split: str) -> list[Example]:
        """Pairs of raw input and raw target.

        Raises:
            DataError: there is no such split.
        """
        if split not in self.splits:
            raise DataError(f"unknown split {split!r}; there are {', '.join(self.splits)}")
        return self.splits[split]

    def arrays(self, split: str) -> list[Arrays]:
        """All examples of a split, encoded once."""
        if split not in self._encoded:
            self._encoded[split] = [self.encode(example) for example in self.examples(split)]
        return self._encoded[split]

    def augment(self, row: Arrays, rng: np.random.Generator) -> Arrays:
        """A training example, augmented for one pass; unchanged unless a subclass overrides this."""
        return row

    def augment_batch(self, rows: list[Arrays], rng: np.random.Generator) -> list[Arrays]:
        """The examples of a training batch, augmented for one pass: each by itself unless a subclass overrides this."""
        return [self.augment(row, rng) for row in rows]

    def dataset(
        self,
        split: str,
        batch_size: int,
        training: bool,
        seed: int | None = None,
        start: tuple[int, int] = (0, 0),
        parts: Callable[[Batch], Sequence[Batch]] | None = None,
    ) -> tf.data.Dataset:
        """Batches of sequences of like length, padded at the end.

        Args:
            split: `train`, `dev` or `test`.
            batch_size: sequences in a batch; the last one (of each length, where lengths are exact) may be smaller.
            training: shuffle sequences and batches in each pass, by `seed` and the number of the pass.
            seed: None: the seed of the task.
            start: number of the first pass, and of its first batch, to resume an earlier run.
            parts: cuts each batch into the elements that take its place, for training on several devices; then the
                passes have no end.

        Returns:
            Elements (inputs by name (B, T, ...), targets (B, T) or (B,), weights of the same shape: 0 at
            padding and at labels that the training split does not have).
        """
        import tensorflow as tf

        passes = itertools.count(start[0])

        def generate() -> Iterator[Batch]:
            if parts is None:
                return self._one_pass(split, batch_size, training, seed, start, next(passes))
            # Several devices may open it several times: each time it is the same, and without an end.
            every = self.endless_batches(split, batch_size, training, seed, start)
            return (part for batch in every for part in parts(batch))

        made = tf.data.Dataset.from_generator(generate, output_signature=self._signature(split))
        # Passes of one length have a known one; the first pass of a run that goes on is shorter.
        if not start[1] and parts is None:
            made = made.apply(tf.data.experimental.assert_cardinality(self.steps(split, batch_size)))
        return made.prefetch(4)

    def endless_batches(
        self, split: str, batch_size: int, training: bool, seed: int | None = None, start: tuple[int, int] = (0, 0)
    ) -> Iterator[Batch]:
        """The batches of `dataset`, pass after pass, without end."""
        for number in itertools.count(start[0]):
            yield from self._one_pass(split, batch_size, training, seed, start, number)

    def _one_pass(
        self, split: str, batch_size: int, training: bool, seed: int | None, start: tuple[int, int], number: int
    ) -> Iterator[Batch]:
        rng = np.random.default_rng((self.seed if seed is None else seed, number)) if training else None
        skip = start[1] if number == start[0] else 0
        try:
            yield from (batch for _, batch in self.batches(split, batch_size, rng, skip))
        except RnnzooError as error:
            self.failure = error
            raise

    def steps(self, split: str, batch_size: int) -> int:
        """Batches in one pass."""
        return len(self._chosen(split, batch_size, None))

    def batches(
        self, split: str, batch_size: int, rng: np.random.Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[NDArray[Any], Batch]]:
        """The batches as arrays, each with the numbers of its examples; shuffled and augmented by `rng`.

        Batch number i of a pass is the same wherever the pass begins (`skip`).
        """
        rows = self.arrays(split)
        entropy = None if rng is None else int(rng.integers(2**32))
        for number, chosen in enumerate(self._chosen(split, batch_size, rng)):
            if number < skip:
                continue
            batch = [rows[i] for i in chosen]
            if entropy is not None:
                own = np.random.default_rng((entropy, number))
                batch = self.augment_batch(batch, own)
            yield chosen, self.collate(batch)

    def collate(self, rows: Sequence[Arrays]) -> Batch:
        """Encoded examples as one batch."""
        batch = collate(rows, self.padding, self.exact_lengths)
        targets = batch[_TARGETS]
        if _WEIGHTS in batch:
            weights = batch[_WEIGHTS]
        else:
            weights = (targets >= 0).astype(np.float32)
            targets = np.maximum(targets, 0)
        return {name: batch[name] for name in self.input_names}, targets, weights

    def _chosen(self, split: str, size: int, rng: np.random.Generator | None) -> list[NDArray[Any]]:
        first = self.input_names[0]
        lengths = np.array([len(row[first]) for row in self.arrays(split)])
        return batch_indices(lengths, size, rng, self.exact_lengths)

    def _signature(self, split: str) -> Any:
        import tensorflow as tf

        inputs, targets, weights = self.collate(self.arrays(split)[:1])
        row = self.arrays(split)[0]

        def spec(array: NDArray[Any], axes: int) -> Any:
            return tf.TensorSpec((None,) * axes + array.shape[axes:], array.dtype)

        return (
            {name: spec(array, min(2, row[name].ndim + 1)) for name, array in inputs.items()},
            spec(targets, min(2, targets.ndim)),
            spec(weights, min(2, weights.ndim)),
        )
