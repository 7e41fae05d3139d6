"""Base of all tasks: a model with a typed specification, and sessions that take pieces and give events."""

from __future__ import annotations

import copy
import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError
from streaming.runtime.carried import Carrier
from streaming.runtime.codec import TextCodec
from streaming.runtime.decoding import Chain, ViterbiStream, sigmoid, softmax
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks.schema import TaskSpec, read_spec
from streaming.runtime.text import Vocabulary

if TYPE_CHECKING:
    from typing import Self


class Session(Protocol):
    """One sequence: pieces in, events out as soon as they are decided. A `SavedSession` serves all tasks here."""

    def feed(self, piece: Any) -> Iterable[Any]:
        """Take a piece, of the kind that the task's `takes` names; gives named tuples."""

    def finish(self) -> Iterable[Any]:
        """Ends the sequence and returns its last events; the next piece begins a new one."""

    def save(self) -> bytes:
        """The session between two calls, as bytes that `restore` reads."""

    def restore(self, blob: bytes) -> None:
        """Continue from the saved state of another session of this task."""


class Task:
    """A model with the description of its task; immutable, and shared by any number of sessions.

    Args:
        model: its metadata names this task, its files hold what the task needs.

    Raises:
        ArtifactError: the description or a file is missing, damaged, or does not fit the model.
    """

    # What a session takes: "words" (a list of strings), "text", "rows" (n, columns), "audio" (n,) or "array".
    takes: ClassVar[str]
    spec_type: ClassVar[type[TaskSpec]]

    def __init__(self, model: StreamingModel):
        self.model = model
        self.spec: Any = read_spec(self.spec_type, model.metadata.task or {})

    def session(self) -> Session:
        """A new session."""
        raise NotImplementedError

    @property
    def threshold(self) -> float | None:
        """The probability that makes an event, an alarm or a label; None where the task decides without one."""
        return None

    def with_threshold(self, threshold: float) -> Self:
        """The same with another threshold.

        Raises:
            InputError: the task decides without one, or it is no probability.
        """
        if self.threshold is None:
            raise InputError(f"this {self.spec_type.kind.replace('_', ' ')} decides without a threshold; set none")
        made = copy.copy(self)
        made.spec = dataclasses.replace(self.spec, threshold=threshold)
        return made

    def restore(self, blob: bytes) -> Session:
        """The session that `Session.save` wrote, in this process or another.

        Raises:
            StateMismatchError: the bytes are damaged, of another version, or of another model's or task's session.
        """
        session = self.session()
        session.restore(blob)
        return session

    def run(self, pieces: Iterable[Any]) -> Iterator[Any]:
        """The events of one sequence of pieces, each as soon as it is decided."""
        session = self.session()
        for piece in pieces:
            yield from session.feed(piece)
        yield from session.finish()


class Prediction(NamedTuple):
    """The most probable label of a sequence, its probability, and the probabilities of all labels in order.

    `labels` are all labels that hold, where several may.
    """

    label: str
    score: float
    scores: NDArray[Any]
    labels: tuple[str, ...] = ()


def read_labels(model: StreamingModel, labels: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """The labels of a model's outputs, from `labels.txt` unless given; raises ArtifactError where they do not fit."""
    if labels is None:
        labels = Vocabulary.from_bytes(read_file(model, "labels.txt")).entries
    shape, said = tuple(model.metadata.outputs[0].shape), (model.metadata.task or {}).get("labels")
    if shape != (len(labels),) or said not in (None, len(labels)):
        raise ArtifactError(
            f"the file names {len(labels)} labels, its task {said}, and the model gives {shape}; export the model anew"
        )
    return labels


def real_rows(model: StreamingModel, rows: Any) -> NDArray[Any]:
    """Rows of a model's first output as real numbers: int8 rows stand for some by the scale of the output."""
    return model.metadata.outputs[0].dequantize(rows)


def read_file(model: StreamingModel, name: str) -> bytes:
    """An associated file; raises ArtifactError where it is missing."""
    if name not in model.files:
        raise ArtifactError(
            f"the task needs {name}; the artifact holds {', '.join(sorted(model.files)) or 'no files'}. Export it anew"
        )
    return bytes(model.files[name])


def read_codec(model: StreamingModel, name: str, size: int | None = None) -> TextCodec:
    """A text codec; raises ArtifactError where it is missing, damaged, or has not as many entries as `size`."""
    codec = TextCodec.from_bytes(read_file(model, name))
    if size is not None and len(codec) != size:
        raise ArtifactError(f"{name} has {len(codec)} entries, the model {size}; export the model anew")
    return codec


class LabelStream(Carrier):
    """Decodes rows of logits to labels with probabilities: the best of each row, or the best path of a chain.

    Args:
        chain: scores of neighbours, or None.
        delay: the most rows for which a label waits.
    """

    carries = ("_path", "_waiting")

    def __init__(self, chain: Chain | None, delay: int | None):
        self._path = ViterbiStream(chain, delay) if chain is not None else None
        self._waiting: deque[NDArray[Any]] = deque()

    def feed(self, rows: NDArray[Any]) -> list[tuple[int, float]]:
        """The labels that rows (n, labels) decide, in order."""
        if self._path is None:
            return [(int(np.argmax(row)), float(row.max())) for row in softmax(rows)]
        self._waiting.extend(softmax(rows))
        return self._scored(self._path.feed(rows))

    def finish(self) -> list[tuple[int, float]]:
        """The rest."""
        return [] if self._path is None else self._scored(self._path.finish())

    def _scored(self, labels: Sequence[int]) -> list[tuple[int, float]]:
        return [(label, float(self._waiting.popleft()[label])) for label in labels]


def read_chain(model: StreamingModel, size: int) -> Chain | None:
    """The chain of `transitions.json`, None without that file; a forbidden score is null.

    Raises:
        ArtifactError: it is damaged or has not as many labels.
    """
    import json

    if "transitions.json" not in model.files:
        return None
    try:
        data = json.loads(model.files["transitions.json"])
        parts = {
            name: np.array([[_score(x) for x in row] for row in data[name]])
            if name == "transitions"
            else np.array([_score(x) for x in data[name]])
            for name in ("transitions", "start", "end")
            if name in data
        }
        chain = Chain(**parts)
    except (ValueError, TypeError, InputError, RecursionError) as error:
        raise ArtifactError(f"transitions.json is damaged ({error}). Export the model anew") from error
    if len(chain.transitions) != size:
        raise ArtifactError(f"transitions.json has {len(chain.transitions)} labels, the model {size}; export it anew")
    return chain


def _score(value: Any) -> float:
    return -np.inf if value is None else float(value)


class Decision:
    """Decodes logits to a `Prediction`, of one label or of several."""

    def __init__(self, labels: tuple[str, ...], multi_label: bool, threshold: float):
        self._labels, self._several, self._threshold = labels, multi_label, threshold

    def __call__(self, logits: NDArray[Any]) -> Prediction:
        """The prediction of a row of logits (labels,)."""
        scores = sigmoid(logits) if self._several else softmax(logits)
        best = int(np.argmax(scores))
        fields: Mapping[str, Any] = {"label": self._labels[best], "score": float(scores[best]), "scores": scores}
        if not self._several:
            return Prediction(**fields)
        held = [name for name, score in zip(self._labels, scores, strict=True) if score >= self._threshold]
        return Prediction(**fields, labels=tuple(held))
