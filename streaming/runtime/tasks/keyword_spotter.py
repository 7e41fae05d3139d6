"""Keyword spotting: audio in blocks of any size to keywords."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError
from streaming.runtime.decoding import EventRule, sigmoid, softmax
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks.schema import KeywordSpotterSpec
from streaming.runtime.tasks.sound import AudioSession, AudioTask

# Seconds that are streamed at once.
_BLOCK = 10


class Keyword(NamedTuple):
    """A keyword, its smoothed probability, and the time of its detection, in seconds and in samples."""

    label: str
    score: float
    time: float
    sample: int = 0


class Utterance(NamedTuple):
    """An utterance: its most probable label, by its last row, and its bounds in seconds and samples."""

    label: str
    score: float
    begin: float
    end: float
    begin_sample: int = 0
    end_sample: int = 0


class KeywordSpotter(AudioTask):
    """Hears keywords in a signal: a label whose smoothed probability reaches a threshold is an event.

    `EventRule` decides: a label is one event while it leads, and can be an event again after it has not led for the
    refractory time; labels do not affect each other. If the task has endpoints, each utterance begins with a fresh
    state, and its end is an `Utterance` event.

    Args:
        model: takes samples or log-mel rows and gives logits (labels,); its file holds `labels.txt`.
        changes: new values of fields of the file's task: `threshold`, `smoothing`, `refractory`, `background`.

    Raises:
        ArtifactError: a field is unknown or out of its range, or a background label is no label of the model.
    """

    spec_type = KeywordSpotterSpec
    # What may be changed without another training.
    settings: ClassVar[tuple[str, ...]] = ("threshold", "smoothing", "refractory", "background")

    def __init__(self, model: StreamingModel, **changes: Any):
        super().__init__(model)
        if unknown := set(changes) - set(self.settings):
            raise ArtifactError(f"a spotter has no setting {sorted(unknown)[0]!r}; known: {', '.join(self.settings)}")
        try:
            self.spec = dataclasses.replace(self.spec, **changes)
        except InputError as error:
            raise ArtifactError(str(error)) from error
        background = set(self.spec.background)
        if strange := background - set(self.labels):
            said = "give labels of the model" if "background" in changes else "export it anew"
            raise ArtifactError(
                f"the background labels {sorted(strange)} are no labels of the model ({', '.join(self.labels)}); {said}"
            )
        self.keywords = [i for i, label in enumerate(self.labels) if label not in background]
        # Seconds from one output row to the next.
        self.row = self.step * self.down / self.up / self.sample_rate
        self.window = max(1, round(self.spec.smoothing / self.row))

    def adjusted(self, **changes: Any) -> KeywordSpotter:
        """The same with other settings: `threshold`, `smoothing` and `refractory` (seconds), `background` (labels)."""
        return KeywordSpotter(self.model, **{name: getattr(self.spec, name) for name in self.settings} | changes)

    @property
    def threshold(self) -> float:
        """The smoothed probability that makes an event."""
        return float(self.spec.threshold)

    def rule(self) -> EventRule:
        """The event rule of this spotter."""
        return EventRule(
            self.keywords,
            [i for i in range(len(self.labels)) if i not in self.keywords],
            self.spec.threshold,
            round(self.spec.refractory / self.row),
            multi_label=self.spec.multi_label,
        )

    def session(self) -> KeywordSpotterSession:
        """Takes blocks of samples (n,)."""
        return KeywordSpotterSession(self)

    def probabilities(self, samples: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """The smoothed probabilities (T, labels) of a signal (n,), and the samples that each row has seen (T,)."""
        session, signal = self.session(), np.asarray(samples)
        session.rows = []
        # Block by block: the features of an hour at once would fill the memory.
        for begin in range(0, len(signal), _BLOCK * self.sample_rate):
            session.feed(signal[begin : begin + _BLOCK * self.sample_rate])
        session.finish()
        smooth = np.array([row for row, _ in session.rows]).reshape(-1, len(self.labels))
        return smooth, np.array([seen for _, seen in session.rows], int)

    def spot(self, samples: Any) -> list[Keyword]:
        """All keywords in a signal (n,)."""
        return [event for event in self.run([samples]) if isinstance(event, Keyword)]


class KeywordSpotterSession(AudioSession):
    """One signal at a time through a `KeywordSpotter`. `scores`: the latest smoothed probabilities by label."""

    carries = ("_recent", "_smooth", "_rule")
    # Where it is a list, each row's smoothed probabilities and the samples that it has seen are added.
    rows: list[tuple[NDArray[Any], int]] | None = None

    def __init__(self, task: KeywordSpotter):
        self._rule = task.rule()
        super().__init__(task)

    def _anew(self, sample: int) -> None:
        super()._anew(sample)
        self._recent: deque[NDArray[Any]] = deque(maxlen=self._task.window)
        self._smooth = np.zeros(len(self._task.labels))
        self._rule.reset()

    def set_threshold(self, threshold: float) -> None:
        """Decide by another threshold from the next block on; a keyword that was an event is none again."""
        super().set_threshold(threshold)
        self._rule.threshold = threshold

    def _identity(self) -> list[str]:
        # Settings may differ from those of the file.
        return [*super()._identity()[:2], json.dumps(dataclasses.asdict(self._task.spec), sort_keys=True)]

    @property
    def scores(self) -> dict[str, float]:
        """The latest smoothed probabilities by label."""
        return dict(zip(self._task.labels, map(float, self._smooth), strict=True))

    def _decide(self, rows: NDArray[Any]) -> list[Any]:
        if not len(rows):
            return []
        task = self._task
        smooth = self._smoothed(sigmoid(rows) if task.spec.multi_label else softmax(rows))
        self._smooth = smooth[-1]
        first, self._row = self._row, self._row + len(rows)
        if self.rows is not None:
            self.rows += [(row, self._seen(first + index)) for index, row in enumerate(smooth)]
        keywords = []
        for index, label in self._rule.feed_rows(smooth):
            seen = self._seen(first + index)
            keywords.append(Keyword(task.labels[label], float(smooth[index, label]), seen / task.sample_rate, seen))
        return keywords

    def _smoothed(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The mean of each row (T, labels) and those before it in the window, added in order of time."""
        window, past = self._task.window, [*self._recent][1 - self._task.window :] if self._task.window > 1 else []
        self._recent.extend(rows)
        joined = np.concatenate([np.array(past, rows.dtype).reshape(-1, rows.shape[1]), rows])
        # Rows whose window is not full yet: at the beginning of an utterance.
        few = min(len(rows), max(0, window - 1 - len(past)))
        begun = [joined[: len(past) + index + 1].mean(axis=0) for index in range(few)]
        first, count = len(past) + few - window + 1, len(rows) - few
        if not count:
            return np.array(begun)
        # A view in which row `shift` of the first axis holds the rows so many steps later.
        row, item = joined.strides
        shape = (window, count, joined.shape[1])
        shifted: NDArray[Any] = np.ndarray(shape, joined.dtype, joined, first * row, (row, row, item))
        full = np.add.reduce(shifted, axis=0) / window
        return np.concatenate([begun, full]) if few else full

    def _close(self, begin: int, end: int) -> list[Any]:
        if self._task.spec.endpoint is None or not self._recent:
            return []
        best, rate = int(np.argmax(self._recent[-1])), self._task.sample_rate
        label, score = self._task.labels[best], float(self._recent[-1][best])
        return [Utterance(label, score, begin / rate, end / rate, begin, end)]
