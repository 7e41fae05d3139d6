"""Words in, labels out: what a streaming model means to a person."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from streaming.errors import ArtifactError, InputError
from streaming.runtime.model import StreamingModel
from streaming.runtime.model import load as load_model
from streaming.runtime.text import WordEncoder
from streaming.runtime.tokenization import sentences, tokenize


class TaggedWord(NamedTuple):
    """A word, its label, and the probability the model gives the label."""

    word: str
    tag: str
    score: float


class Prediction(NamedTuple):
    """The most probable label of a sequence, its probability, and those of all labels in their order."""

    label: str
    score: float
    scores: np.ndarray


class _WordTask:
    """A model over words with the encoder that its file carries."""

    def __init__(self, model: StreamingModel):
        self.model = model
        self.encoder = WordEncoder.from_files(model.files)

    def _arrays(self, words: Sequence[str]) -> Any:
        arrays = self.encoder.encode(words)
        return arrays if len(arrays) > 1 else next(iter(arrays.values()))


class Tagger(_WordTask):
    """Labels each word of a sentence as soon as the model has decided it.

    Args:
        model: a model whose file holds a word encoder, with one row of logits (labels,) a word.
    """

    def stream(self, words: Iterable[str]) -> Iterator[TaggedWord]:
        """The words of one sentence, each yielded once decided: `model.delay` words after it was taken.

        Args:
            words: any iterable, also one that waits for its next word.
        """
        stream, waiting = self.model.create_stream(), deque[str]()
        for word in words:
            rows = stream.feed(self._arrays([word]))
            waiting.append(word)
            yield from self._decide(rows, waiting)
        if waiting:
            yield from self._decide(stream.finish(), waiting)

    def tag(self, words: Sequence[str] | str) -> list[TaggedWord]:
        """All words of one sentence; a text is split into words first."""
        words = tokenize(words) if isinstance(words, str) else list(words)
        if not words:
            return []
        stream = self.model.create_stream()
        rows = [stream.feed(self._arrays(words)), stream.finish()]
        return list(self._decide(np.concatenate(rows), deque(words)))

    def tag_text(self, text: str) -> Iterator[list[TaggedWord]]:
        """Each sentence of a text."""
        for words in sentences(text):
            yield self.tag(words)

    def _decide(self, rows: np.ndarray, waiting: deque[str]) -> Iterator[TaggedWord]:
        for scores in softmax(rows):
            best = int(np.argmax(scores))
            yield TaggedWord(waiting.popleft(), self.encoder.labels[best], float(scores[best]))


class Classifier(_WordTask):
    """Labels a whole sequence, and says after each word what it would say if that were the last.

    Args:
        model: a model whose file holds a word encoder, with one row of logits (labels,) a word.
    """

    def stream(self, words: Iterable[str]) -> Iterator[Prediction]:
        """A prediction after each word."""
        stream, fed = self.model.create_stream(), False
        for word in words:
            fed = True
            yield from map(self._decide, softmax(stream.feed(self._arrays([word]))))
        if fed:
            yield from map(self._decide, softmax(stream.finish()))

    def classify(self, words: Sequence[str] | str) -> Prediction:
        """The prediction for all words; a text is split into words first.

        Raises:
            InputError: there is no word.
        """
        words = tokenize(words) if isinstance(words, str) else list(words)
        if not words:
            raise InputError("a classifier needs at least one word; received none")
        stream = self.model.create_stream()
        rows = [stream.feed(self._arrays(words)), stream.finish()]
        return self._decide(softmax(np.concatenate(rows))[-1])

    def _decide(self, scores: np.ndarray) -> Prediction:
        best = int(np.argmax(scores))
        return Prediction(self.encoder.labels[best], float(scores[best]), scores)


_TASKS: dict[str, type[_WordTask]] = {"tagger": Tagger, "classifier": Classifier}


def pipeline(path: str | Path, runtime: str = "auto", num_threads: int = 1) -> Any:
    """The task object that a model's metadata names.

    Args:
        path: a file that `streaming.convert` wrote with a task in its metadata.
        runtime: `auto`, `litert`, `tflite_runtime` or `tf`.
        num_threads: threads of the interpreter.

    Raises:
        ArtifactError: the file is damaged, or names no task or one this version does not know.
    """
    model = load_model(path, runtime=runtime, num_threads=num_threads)
    return task_for(model)


def task_for(model: StreamingModel) -> Any:
    """The task object of a loaded model.

    Raises:
        ArtifactError: the model names no task, or one this version does not know.
    """
    kind = (model.metadata.task or {}).get("kind")
    if kind not in _TASKS:
        known = ", ".join(_TASKS)
        raise ArtifactError(f"expected a task among {known}; this file says {kind!r}. Use streaming.load")
    return _TASKS[kind](model)


def softmax(rows: np.ndarray) -> np.ndarray:
    """Probabilities of logits (..., labels)."""
    exponents = np.exp(rows - rows.max(axis=-1, keepdims=True)) if rows.size else rows
    return exponents / exponents.sum(axis=-1, keepdims=True)
