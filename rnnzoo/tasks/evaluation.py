"""Evaluates a task: the Keras model, its stream, and a classical method."""

from __future__ import annotations

import abc
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.batching import collate
from rnnzoo.errors import DataError
from rnnzoo.tasks.baselines import Baseline
from rnnzoo.tasks.batches import Batches
from streaming.runtime.decoding import log_softmax
from streaming.runtime.tasks import task_for

if TYPE_CHECKING:
    import keras

    from streaming.runtime.model import StreamingModel


class Evaluation(Batches):
    """Evaluation of a model on a split."""

    # Whether `evaluate_stream` can go over a whole split without a reset.
    endless: ClassVar[bool] = False
    # Folder of the bundle that judges what the model makes, where the configuration names one.
    listener: Path | None = None

    @abc.abstractmethod
    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        """Figures of a Keras model on a split; `count` is the number of decisions."""

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
        """Write plots of a Keras model's results on a split to a folder; returns the files."""
        return []

    def classes(self, model: keras.Model, split: str) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and count of each label by its name, where there are labels."""
        return {}

    def signature(self, split: str) -> str:
        """The metric's signature string as the library that measures reports it, such as sacreBLEU's; else empty."""
        return ""

    def baseline(self, split: str) -> Baseline | None:
        """The figures of a classical method fitted on the training split; None where there is none."""
        return None

    def predict(self, model: keras.Model, split: str, batch_size: int) -> list[NDArray[Any]]:
        """Outputs of a Keras model for each example of a split, as long as its padded batch."""
        outputs: list[Any] = [None] * len(self.examples(split))
        for chosen, (inputs, _, _) in self.batches(split, batch_size):
            for i, row in zip(chosen, model.predict_on_batch(inputs), strict=True):
                outputs[i] = np.asarray(row)
        return outputs

    def streamed_task(self, model: StreamingModel, kind: type | tuple[type, ...], *, exact: bool = False) -> Any:
        """The task object of a streaming model, see `expect_task`; raises DataError where it is for another task."""
        return expect_task(task_for(model), kind, f"data set {self.config.dataset!r}", exact=exact)


def expect_task(task: Any, kind: type | tuple[type, ...], needed_by: str, *, exact: bool = False) -> Any:
    """Check the class of a task object, and return it.

    Args:
        task: what `streaming.pipeline` gave.
        kind: the class that it has to be of, or several, of which the first names them all.
        needed_by: the caller, for the error.
        exact: refuse subclasses.

    Raises:
        DataError: it is of another class.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(task) not in kinds if exact else not isinstance(task, kinds):
        raise DataError(f"{needed_by} needs {_named(kinds[0])}; the model is {_named(type(task))}")
    return task


def _named(kind: type) -> str:
    """`KeywordSpotter` as "a keyword spotter"."""
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", kind.__name__).lower()
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def predict_whole(model: keras.Model, **inputs: NDArray[Any]) -> NDArray[Any]:
    """The output of a Keras model with one output for one whole example: inputs (T, ...) by name, without a batch."""
    return np.asarray(model.predict_on_batch({name: array[None] for name, array in inputs.items()}))[0]


def predict_padded(model: keras.Model, features: Sequence[NDArray[Any]], batch_size: int) -> list[NDArray[Any]]:
    """Outputs of a causal model for each of several inputs `features` (T, D), as long as the padded batch.

    Inputs of similar length are padded at the end, and batched together.
    """
    order = sorted(range(len(features)), key=lambda i: len(features[i]))
    outputs: list[Any] = [None] * len(features)
    for begin in range(0, len(order), batch_size):
        chosen = order[begin : begin + batch_size]
        batch = collate([{"features": features[i]} for i in chosen], {})
        for i, row in zip(chosen, model.predict_on_batch(batch), strict=True):
            outputs[i] = np.asarray(row)
    return outputs


def surprise(logits: NDArray[Any], numbers: NDArray[Any]) -> NDArray[Any]:
    """-log2 p of numbers (T,), p the softmax of logits (T, L): bits."""
    rows = log_softmax(logits.astype(np.float64))
    return np.asarray(-rows[np.arange(len(numbers)), numbers] / np.log(2))


def mean(values: Sequence[bool] | NDArray[Any]) -> float:
    """The mean; NaN over nothing."""
    return float(np.mean(values)) if len(values) else float("nan")
