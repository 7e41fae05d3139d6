"""Tasks over rows of sensors: classifiers and sequence taggers."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks.base import (
    Decision,
    LabelStream,
    Prediction,
    Task,
    read_chain,
    read_labels,
    real_rows,
)
from streaming.runtime.tasks.rows import RowReader, RowSession, filled
from streaming.runtime.tasks.schema import ClassifierSpec, SequenceTaggerSpec


class TaggedRow(NamedTuple):
    """The number of an output row, its label and probability, and its time in seconds where rows have a rate."""

    row: int
    tag: str
    score: float
    time: float | None


class _RowTask(Task):
    takes: ClassVar[str] = "rows"

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        self.reader = RowReader(model, self.spec)
        self.labels = read_labels(model)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, none where they have none."""
        return self.reader.columns


class _SensorSession(RowSession):
    carries: ClassVar[tuple[str, ...]] = ("_stream", "_fed")

    def __init__(self, task: Any):
        super().__init__(task)
        self._stream = task.model.create_stream()
        self._fed = False

    def _rows(self, rows: Any) -> NDArray[Any]:
        values = self._task.reader.read(rows)
        outputs = self._stream.feed(self._task.reader.scaled(values))
        self._fed = self._fed or bool(len(values))
        return real_rows(self._task.model, outputs)

    def _rest(self) -> NDArray[Any] | None:
        if not self._fed:
            return None
        rows = real_rows(self._task.model, self._stream.finish())
        self._stream.reset()
        self._fed = False
        return rows


class SensorClassifier(_RowTask):
    """Labels a whole recording; after each row it gives the prediction for the recording so far.

    Args:
        model: takes rows (columns,) and gives logits (labels,); its file holds `labels.txt`.
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

    def session(self) -> Any:
        """Takes arrays (n, columns) of one recording."""
        return filled(self, SensorClassifierSession(self))

    def classify(self, rows: Any) -> Prediction:
        """The prediction for all rows (n, columns).

        Raises:
            InputError: there is no row, or too few for the model to say anything; or they are of another kind.
        """
        predictions = list(self.run([rows]))
        if not predictions:
            raise InputError(f"a classifier needs more than {len(np.asarray(rows))} rows; give the whole recording")
        return predictions[-1]


class SensorClassifierSession(_SensorSession):
    """One recording at a time through a `SensorClassifier`."""

    def feed(self, piece: Any) -> list[Prediction]:
        """A prediction for each output row."""
        return [self._task.decide(row) for row in self._rows(piece)]

    def finish(self) -> list[Prediction]:
        """Events that were held back."""
        rows = self._rest()
        return [] if rows is None else [self._task.decide(row) for row in rows]


class SequenceTagger(_RowTask):
    """Labels each row of a recording (of each output row, where the model lowers the rate) as soon as it is decided.

    Args:
        model: takes rows (columns,) and gives logits (labels,); its file holds `labels.txt`, and `transitions.json`
            where the labels are the best path of a chain.
    """

    spec_type = SequenceTaggerSpec

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        self.chain = read_chain(model, len(self.labels))
        self.rate = self.spec.sample_rate

    def session(self) -> Any:
        """Takes arrays (n, columns) of one recording."""
        return filled(self, SequenceTaggerSession(self))

    def time_of(self, row: int) -> float | None:
        """Seconds from the first input row to an output row, for windows to their last; None without a rate."""
        if self.rate is None:
            return None
        up, down = self.model.metadata.outputs[0].rate
        steps = row * down / up if self.model.window is None else self.model.last_step(row)
        return steps / self.rate

    def tag(self, rows: Any) -> list[TaggedRow]:
        """All rows (n, columns) of a recording; raises InputError where they are of another kind."""
        return list(self.run([rows]))


class SequenceTaggerSession(_SensorSession):
    """One recording at a time through a `SequenceTagger`."""

    carries = ("_labels", "_count")

    def __init__(self, task: SequenceTagger):
        super().__init__(task)
        self._labels = LabelStream(task.chain, task.spec.viterbi_delay)
        self._count = 0

    def feed(self, piece: Any) -> list[TaggedRow]:
        """The rows that these decide."""
        return self._decided(self._labels.feed(self._rows(piece)))

    def finish(self) -> list[TaggedRow]:
        """The rest of the recording."""
        rows = self._rest()
        if rows is None:
            return []
        tagged = self._decided([*self._labels.feed(rows), *self._labels.finish()])
        self._count = 0
        return tagged

    def _decided(self, labels: list[tuple[int, float]]) -> list[TaggedRow]:
        tagged = []
        for label, score in labels:
            time = self._task.time_of(self._count)
            tagged.append(TaggedRow(self._count, self._task.labels[label], score, time))
            self._count += 1
        return tagged
