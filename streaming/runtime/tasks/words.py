"""Tasks over words: taggers and classifiers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.carried import SavedSession
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks.base import Decision, LabelStream, Prediction, Task, read_chain, read_labels, real_rows
from streaming.runtime.tasks.schema import ClassifierSpec, TaggerSpec
from streaming.runtime.text import WordEncoder
from streaming.runtime.tokenization import sentences, tokenize


class TaggedWord(NamedTuple):
    """A word, its label, and the probability the model gives the label."""

    word: str
    tag: str
    score: float


class _WordTask(Task):
    """A model over words with the encoder that its file carries."""

    takes: ClassVar[str] = "words"

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        self.encoder = WordEncoder.from_files(model.files)
        self.labels = read_labels(model, self.encoder.labels)


class _WordSession(SavedSession):
    """Attributes: `words` and `unknown` count those taken, and those of them that the vocabulary lacks."""

    carries: ClassVar[tuple[str, ...]] = ("_stream", "_fed", "words", "unknown")

    def __init__(self, task: Any):
        super().__init__(task)
        self._stream = task.model.create_stream()
        self._fed = False
        self.words = self.unknown = 0

    def _rows(self, words: Sequence[str]) -> NDArray[Any]:
        arrays = self._task.encoder.encode(words)
        rows = self._stream.feed(arrays if len(arrays) > 1 else next(iter(arrays.values())))
        self._fed = self._fed or bool(words)
        self.words += len(words)
        self.unknown += self._task.encoder.count_unknown(words)
        return real_rows(self._task.model, rows)

    def _rest(self) -> NDArray[Any] | None:
        """The rows of the end, None where no word came."""
        if not self._fed:
            return None
        rows = real_rows(self._task.model, self._stream.finish())
        self._stream.reset()
        self._fed = False
        return rows


class Tagger(_WordTask):
    """Labels each word of a sentence as soon as the model has decided it.

    Args:
        model: a model whose file holds a word encoder, with one row of logits (labels,) a word; where it holds the
            scores of a chain (`transitions.json`), the labels are its best path.
    """

    spec_type = TaggerSpec

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        self.chain = read_chain(model, len(self.labels))

    def session(self) -> TaggerSession:
        """Takes lists of words of one sentence."""
        return TaggerSession(self)

    def stream(self, words: Iterable[str]) -> Iterator[TaggedWord]:
        """The words of one sentence, each yielded once decided: `model.delay` words after it was taken.

        Args:
            words: any iterable, also one that waits for its next word.
        """
        return self.run([word] for word in words)

    def tag(self, words: Sequence[str] | str) -> list[TaggedWord]:
        """All words of one sentence; a text is split into words first."""
        return list(self.run([tokenize(words) if isinstance(words, str) else list(words)]))

    def tag_text(self, text: str) -> Iterator[list[TaggedWord]]:
        """Each sentence of a text."""
        for words in sentences(text):
            yield self.tag(words)


class TaggerSession(_WordSession):
    """One sentence at a time through a `Tagger`."""

    carries = ("_labels", "_waiting")

    def __init__(self, task: Tagger):
        super().__init__(task)
        self._labels = LabelStream(task.chain, task.spec.viterbi_delay)
        self._waiting = deque[str]()

    def feed(self, piece: Sequence[str]) -> list[TaggedWord]:
        """The words that these decide."""
        rows = self._rows(piece)
        self._waiting.extend(piece)
        return self._decided(self._labels.feed(rows))

    def finish(self) -> list[TaggedWord]:
        """The rest of the sentence."""
        rows = self._rest()
        return [] if rows is None else self._decided([*self._labels.feed(rows), *self._labels.finish()])

    def _decided(self, labels: list[tuple[int, float]]) -> list[TaggedWord]:
        return [TaggedWord(self._waiting.popleft(), self._task.labels[label], score) for label, score in labels]


class Classifier(_WordTask):
    """Labels a whole sequence; after each word it gives the prediction for the sequence so far.

    Args:
        model: a model whose file holds a word encoder, with one row of logits (labels,) a word.
    """

    spec_type = ClassifierSpec

    @property
    def decide(self) -> Decision:
        """What makes a prediction of logits."""
        return Decision(self.labels, self.spec.multi_label, self.spec.threshold)

    @property
    def threshold(self) -> float | None:
        """The probability of a label that holds, where several may."""
        return float(self.spec.threshold) if self.spec.multi_label else None

    def session(self) -> ClassifierSession:
        """Takes lists of words of one sequence."""
        return ClassifierSession(self)

    def stream(self, words: Iterable[str]) -> Iterator[Prediction]:
        """A prediction after each word."""
        return self.run([word] for word in words)

    def classify(self, words: Sequence[str] | str) -> Prediction:
        """The prediction for all words; a text is split into words first.

        Raises:
            InputError: there is no word.
        """
        words = tokenize(words) if isinstance(words, str) else list(words)
        if not words:
            raise InputError("a classifier needs at least one word; received none")
        *_, last = self.run([words])
        return last


class ClassifierSession(_WordSession):
    """One sequence at a time through a `Classifier`."""

    def feed(self, piece: Sequence[str]) -> list[Prediction]:
        """A prediction after each word that the model has taken."""
        return [self._task.decide(row) for row in self._rows(piece)]

    def finish(self) -> list[Prediction]:
        """Events that were held back."""
        rows = self._rest()
        return [] if rows is None else [self._task.decide(row) for row in rows]
