"""What every topology has to say of itself to be trained, measured and exported."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rnnzoo.data.batching import Arrays, batch_indices, collate
from rnnzoo.data.source import Example, Source
from rnnzoo.errors import DataError, RnnzooError
from rnnzoo.tasks.baselines import Baseline

if TYPE_CHECKING:
    from typing import Self

    import keras
    import tensorflow as tf

    from rnnzoo.data.config import DataConfig
    from rnnzoo.training.config import TrainingConfig
    from streaming.runtime.model import StreamingModel

# Inputs by name (B, T, ...), targets (B, T) or (B,), weights of the same shape.
Batch = tuple[Arrays, np.ndarray, np.ndarray]
_TARGETS, _WEIGHTS = "targets", "weights"


class Task(abc.ABC):
    """A topology on a data set.

    A subclass says how an example becomes arrays, what is minimized, and what the figures are.

    Args:
        config: the data section of the experiment.
        encoder: raw input to arrays, and the labels; its files travel with the model to the device.
        splits: examples of `train`, `dev` and `test`, pairs of raw input and raw target.
        seed: orders the training batches where `dataset` is given no other.
    """

    # What `topology:` says in a configuration.
    topology: ClassVar[str]
    # Kinds of data sets that it takes, as `register_dataset` names them.
    kinds: ClassVar[tuple[str, ...]]
    # The figure that picks the epoch which is kept, and whether more is better.
    monitor: str = "val_accuracy"
    higher_is_better: ClassVar[bool] = True
    # Whether a batch may only hold examples of one length, because the model reads padding as data.
    exact_lengths: ClassVar[bool] = False
    # Whether `evaluate_stream` can go over a whole split without a reset.
    endless: ClassVar[bool] = False
    # Whether an example is a text that is cut into windows, of any length.
    windowed: ClassVar[bool] = False
    # Whether whole-number targets are classes, each with an output of the model.
    class_targets: ClassVar[bool] = False
    # The input that holds what a decoder has said so far, where training may give it its own guesses; and the numbers
    # that are none.
    decoder_input: ClassVar[str | None] = None
    never_guessed: ClassVar[tuple[int, ...]] = ()
    # What targets (and inputs, by name) are padded with; a target of -1 weighs nothing.
    padding: ClassVar[Mapping[str, float]] = {_TARGETS: -1}

    def __init__(self, config: Any, encoder: Any, splits: dict[str, list[Example]], seed: int = 0):
        self.config, self.encoder, self.splits, self.seed = config, encoder, splits, seed
        # What ended a pipeline: TensorFlow would only tell of it in its own words.
        self.failure: RnnzooError | None = None
        self._encoded: dict[str, list[Arrays]] = {}

    @classmethod
    def from_source(cls, source: Source, config: Any, *, encoder: Any = None, seed: int = 0) -> Self:
        """A problem on examples already read; the encoder is fitted on `train` unless one is given.

        Raises:
            DataError: the examples are of a kind that this topology does not take.
        """
        if source.kind not in cls.kinds:
            raise DataError(
                f"topology {cls.topology!r} takes data of the kind {' or '.join(cls.kinds)}; "
                f"{config.dataset!r} is of the kind {source.kind}: choose another topology or data set"
            )
        if encoder is None:
            encoder = cls.fit_encoder(source.splits["train"], config)
        return cls(config, encoder, source.splits, seed)

    @classmethod
    @abc.abstractmethod
    def fit_encoder(cls, train: Sequence[Example], config: Any) -> Any:
        """What turns raw input into arrays, with vocabularies and scales from the training split only."""

    @classmethod
    @abc.abstractmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> Any:
        """The encoder from the files that its `to_files()` gave; raises StreamingError where they are damaged."""

    @classmethod
    def spec(cls, config: DataConfig, encoder: Any) -> dict[str, Any]:
        """What a streaming artifact says about its task."""
        return {"kind": cls.topology, "labels": len(encoder.labels), "dataset": config.dataset}

    @classmethod
    def conversion(cls, config: DataConfig) -> dict[str, Any]:
        """What `streaming.convert` has to know beside the model and its task."""
        return {}

    @abc.abstractmethod
    def encode(self, example: Example) -> Arrays:
        """One example as arrays: each input (T, ...) by its name, `targets`, and `weights` where they differ."""

    @abc.abstractmethod
    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        """What is minimized, of targets, outputs and weights."""

    @abc.abstractmethod
    def metrics(self) -> list[keras.metrics.Metric]:
        """What is shown in training, weighted as the loss is."""

    @abc.abstractmethod
    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        """Figures of a Keras model on a split; `count` says of how many decisions."""

    @abc.abstractmethod
    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        """The same figures of a converted model, streamed by the task object that its users get.

        Args:
            model: what `streaming.load` gave.
            split: `train`, `dev` or `test`.
            reset: begin each example with a fresh state; otherwise one stream runs over the whole split. Only
                where `endless` holds.

        Raises:
            DataError: the model is for another task.
        """

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """Pictures of what a Keras model does on a split, written to a folder; the files."""
        return []

    def signature(self, split: str) -> str:
        """How the library that measures a split says it does, where it says so."""
        return ""

    def baseline(self, split: str) -> Baseline | None:
        """What a classical method reaches on a split, learnt from the training split; None: there is none."""
        return None

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
        """A training example as one pass sees it; unchanged unless a subclass says otherwise."""
        return row

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
            training: shuffle sequences and batches anew at each pass, by `seed` and the number of the pass.
            seed: None: the seed of the problem.
            start: number of the first pass, and of the batch that it begins with: where an earlier run stopped.
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
        """The batches of one pass after the other, as `dataset` has them; it has no end."""
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

    def begin(self, model: keras.Model, config: Any) -> None:  # noqa: B027
        """Give a fresh model what its section `model` wants computed from the training split, before it is trained."""

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Callbacks that training it needs."""
        return []

    def smooths_labels(self, model: keras.Model) -> bool:
        """Whether what is minimized takes `training.label_smoothing`."""
        return False

    def training_model(self, model: keras.Model, batch_size: int) -> keras.Model:
        """What is trained in the model's place, with weights of the same names; usually the model itself."""
        return model

    def steps(self, split: str, batch_size: int) -> int:
        """Batches in one pass."""
        return len(self._chosen(split, batch_size, None))

    def batches(
        self, split: str, batch_size: int, rng: np.random.Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[np.ndarray, Batch]]:
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
                batch = [self.augment(row, own) for row in batch]
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

    def _chosen(self, split: str, size: int, rng: np.random.Generator | None) -> list[np.ndarray]:
        first = self.input_names[0]
        lengths = np.array([len(row[first]) for row in self.arrays(split)])
        return batch_indices(lengths, size, rng, self.exact_lengths)

    def _signature(self, split: str) -> Any:
        import tensorflow as tf

        inputs, targets, weights = self.collate(self.arrays(split)[:1])
        row = self.arrays(split)[0]

        def spec(array: np.ndarray, axes: int) -> Any:
            return tf.TensorSpec((None,) * axes + array.shape[axes:], array.dtype)

        return (
            {name: spec(array, min(2, row[name].ndim + 1)) for name, array in inputs.items()},
            spec(targets, min(2, targets.ndim)),
            spec(weights, min(2, weights.ndim)),
        )


def mean(values: Sequence[bool] | np.ndarray) -> float:
    """The mean; NaN over nothing."""
    return float(np.mean(values)) if len(values) else float("nan")
