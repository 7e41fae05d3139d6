"""Base of tasks over audio: cuts blocks of any size into utterances, and makes rows for the model."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError
from streaming.runtime.audio import Endpointer, LogMelStream, as_samples
from streaming.runtime.carried import SavedSession
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks.base import Task, read_labels, real_rows

# Yields frames of the signal, is sent their features, and returns events.
AudioWork = Generator[NDArray[Any], NDArray[Any], list[Any]]


class AudioTask(Task):
    """A model over samples (where features are in its graph) or over log-mel rows made here."""

    takes: ClassVar[str] = "audio"

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        self.labels = read_labels(model)
        info, features = model.metadata.inputs[0], self.spec.features
        self.shape = tuple(info.shape)
        self.width = int(np.prod(self.shape, dtype=int))
        if len(model.metadata.inputs) > 1 or (features and features.num_mels != self.width):
            raise ArtifactError(
                f"the task makes rows of {features and features.num_mels} features, the model takes "
                f"{len(model.metadata.inputs)} inputs, the first of {self.width}; export the model anew"
            )
        # Samples of an input row: from one to the next, and to the end of the first.
        self.step = features.frame_step if features else self.width
        self.length = features.frame_length if features else self.spec.frame_length or self.width
        self.up, self.down = model.metadata.outputs[0].rate
        # Samples of silence before the first of an utterance: whole rows of the model.
        self.lead = round(self.spec.lead * self.spec.sample_rate / self.step) * self.step
        self.zeros = self.lead if self.spec.zeros is None else self.spec.zeros

    @property
    def sample_rate(self) -> int:
        """Samples a second that the model takes."""
        return int(self.spec.sample_rate)

    def rows(self, samples: NDArray[Any], fresh: bool = True) -> NDArray[np.float32]:
        """The input rows (T, *shape) of a complete signal (N,).

        fresh: with the silence before the first sample of a fresh state; otherwise as the continuation of a stream.
        """
        before = np.zeros(self.zeros if fresh else 0)
        signal = np.concatenate([before, as_samples(samples)])
        features = self.spec.features
        rows = features(signal) if features else signal[: len(signal) // self.width * self.width]
        return rows.astype(np.float32).reshape(-1, *self.shape)

    def samples(self, row: int) -> int:
        """The number of samples up to an output row, from the beginning of the utterance, without the lead."""
        return int(self.model.last_step(row) * self.step + self.length - self.lead)

    def seconds(self, row: int) -> float:
        """The same in seconds."""
        return self.samples(row) / self.sample_rate


class AudioSession(SavedSession):
    """Cuts the signal into utterances where the task asks for it; each begins with a fresh state."""

    carries: ClassVar[tuple[str, ...]] = (
        "_stream",
        "_front",
        "_endpointer",
        "_held",
        "_taken",
        "_begin",
        "_zeros",
        "_fed",
        "_row",
    )
    _held: NDArray[np.float32]
    _zeros: int

    def __init__(self, task: Any):
        super().__init__(task)
        self._stream = task.model.create_stream()
        spec = task.spec
        self._front = LogMelStream(spec.features) if spec.features else None
        end = spec.endpoint
        self._endpointer = Endpointer(spec.sample_rate, end.silence, end.level) if end else None
        self._taken = 0
        self._anew(0)

    def feed(self, piece: Any) -> list[Any]:
        """Take samples (n,), whole numbers or floats between -1 and 1; gives the events that they bring.

        Raises:
            InputError: the samples are not one row of finite numbers.
        """
        work = self.feeding(piece)
        try:
            frames = next(work)
            while True:
                frames = work.send(self._task.spec.features.features(frames))
        except StopIteration as end:
            return end.value

    def feeding(self, piece: Any) -> AudioWork:
        """`feed` as a generator: yields frames (n, frame_length) and is sent their features; returns the events."""
        samples, begin = as_samples(piece), 0
        events: list[Any] = []
        for boundary in self._endpointer.feed(samples) if self._endpointer else ():
            if boundary.kind == "end":
                until = boundary.sample - self._taken
                events += yield from self._advance(samples[begin:until])
                events += self._end(boundary.sample)
                begin = until
        events += yield from self._advance(samples[begin:])
        self._taken += len(samples)
        return events

    def finish(self) -> list[Any]:
        """Ends the signal and returns its last events; the next block begins a new signal at time 0."""
        events = self._end(self._taken) if self._taken > self._begin else []
        if self._endpointer:
            self._endpointer.reset()
        self._taken = 0
        self._anew(0)
        return events

    def _advance(self, samples: NDArray[np.float32]) -> AudioWork:
        if self._zeros and len(samples):
            samples, self._zeros = np.concatenate([np.zeros(self._zeros), samples]), 0
        if self._front is not None:
            frames = self._front.cut(samples)
            rows = (yield frames) if len(frames) else frames
        else:
            joined = np.concatenate([self._held, samples])
            count = len(joined) // self._task.width
            rows, self._held = joined[: count * self._task.width], joined[count * self._task.width :]
        return self._outputs(rows)

    def _outputs(self, rows: NDArray[np.float32]) -> list[Any]:
        if not rows.size:
            return []
        outputs = self._stream.feed(rows.astype(np.float32).reshape(-1, *self._task.shape))
        self._fed = True
        return self._decide(real_rows(self._task.model, outputs))

    def _end(self, sample: int) -> list[Any]:
        events = self._outputs(self._front.finish()) if self._front is not None else []
        if self._fed:
            events += self._decide(real_rows(self._task.model, self._stream.finish()))
        events += self._close(self._begin, sample)
        self._anew(sample)
        return events

    def _anew(self, sample: int) -> None:
        """Begin an utterance at a sample."""
        self._begin, self._fed, self._row = sample, False, 0
        self._held, self._zeros = np.zeros(0, np.float32), self._task.zeros
        self._stream.reset()
        if self._front is not None:
            self._front.reset()

    def _seen(self, row: int) -> int:
        """The samples of the signal that an output row of the utterance has seen."""
        return int(self._begin + self._task.samples(row))

    def _decide(self, rows: NDArray[np.float32]) -> list[Any]:
        """The events of output rows (n, labels)."""
        raise NotImplementedError

    def _close(self, begin: int, end: int) -> list[Any]:
        """The events of the end of an utterance, which lies between two samples."""
        raise NotImplementedError
