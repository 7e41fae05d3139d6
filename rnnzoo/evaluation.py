"""How good a model is on a split, offline or streamed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnzoo.data.sources import OUT_OF_SCOPE
from rnnzoo.data.task import TaskData
from rnnzoo.errors import DataError
from streaming.runtime.tasks import Classifier, Tagger, task_for

if TYPE_CHECKING:
    import keras

    from streaming.runtime.model import StreamingModel

Predicted = list[Any]


def evaluate(model: keras.Model, data: TaskData, split: str, batch_size: int = 64) -> dict[str, float]:
    """Metrics of a Keras model.

    Args:
        model: inputs as the data's encoder makes them, outputs logits.
        data: examples and encoder.
        split: `train`, `dev` or `test`.
        batch_size: sequences in a step.

    Returns:
        What `score` returns.
    """
    examples = data.examples(split)
    predicted: Predicted = [None] * len(examples)
    for chosen, (inputs, _, _) in data.batches(split, batch_size):
        best = np.argmax(model.predict_on_batch(inputs), axis=-1)
        for i, row in zip(chosen, best, strict=True):
            words = examples[i][0]
            tagger = data.kind == "tagger"
            predicted[i] = [data.labels[k] for k in row[: len(words)]] if tagger else data.labels[row]
    return score(data, split, predicted)


def evaluate_stream(model: StreamingModel, data: TaskData, split: str) -> dict[str, float]:
    """Metrics of a converted model, streamed by the task object that its users get: one stream a sequence.

    Args:
        model: what `streaming.load` returns.
        data: examples; words are encoded by the model's own encoder.
        split: `train`, `dev` or `test`.

    Returns:
        What `score` returns.

    Raises:
        DataError: the model is for another kind of task.
    """
    task = task_for(model)
    words = [words for words, _ in data.examples(split)]
    if data.kind == "tagger" and isinstance(task, Tagger):
        return score(data, split, [[token.tag for token in task.tag(sentence)] for sentence in words])
    if data.kind == "classifier" and isinstance(task, Classifier):
        return score(data, split, [task.classify(sentence).label for sentence in words])
    found = type(task).__name__.lower()
    raise DataError(f"data set {data.dataset_name!r} needs a {data.kind}; the model is a {found}")


def score(data: TaskData, split: str, predicted: Predicted) -> dict[str, float]:
    """Metrics of predictions given in the order of the examples.

    Returns:
        For a tagger: `accuracy` over words, `unseen_accuracy` over words outside the vocabulary, and the
        `count` of words.
        For a classifier: `accuracy` over sequences and their `count`; where the labels know out-of-scope
        sequences, also `in_scope_accuracy` and `out_of_scope_recall`.
    """
    examples = data.examples(split)
    if data.kind == "classifier":
        true = [label for _, label in examples]
        right = np.array([a == b for a, b in zip(true, predicted, strict=True)])
        found = {"accuracy": _mean(right), "count": float(len(right))}
        if OUT_OF_SCOPE in data.labels:
            outside = np.array([label == OUT_OF_SCOPE for label in true])
            found["in_scope_accuracy"] = _mean(right[~outside])
            found["out_of_scope_recall"] = _mean(right[outside])
        return found
    flat = [
        (word.lower() in data.encoder.words, tag == guess)
        for (words, tags), guesses in zip(examples, predicted, strict=True)
        for word, tag, guess in zip(words, tags, guesses, strict=True)
    ]
    seen, right = np.array(flat, bool).T
    return {"accuracy": _mean(right), "unseen_accuracy": _mean(right[~seen]), "count": float(len(right))}


def _mean(values: Sequence[bool] | np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
