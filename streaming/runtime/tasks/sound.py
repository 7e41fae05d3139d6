"""Audio in blocks of any size, keywords or text out."""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar, NamedTuple

import numpy as np

from streaming.errors import ArtifactError
from streaming.runtime.audio import Endpointer, LogMelStream, as_samples
from streaming.runtime.carried import SavedSession
from streaming.runtime.decoding import CTCBeam, CTCGreedy, log_softmax, sigmoid, softmax
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks.base import Task, read_labels
from streaming.runtime.tasks.schema import KeywordSpotterSpec, TranscriberSpec


class Keyword(NamedTuple):
    """A keyword, its smoothed probability, and the time in seconds at which it was clear."""

    label: str
    score: float
    time: float


class Utterance(NamedTuple):
    """An utterance, begin and end in seconds, and its most probable label by the last row."""

    label: str
    score: float
    begin: float
    end: float


class Token(NamedTuple):
    """A piece of text, and the time in seconds at which it was clear."""

    text: str
    time: float


class Transcript(NamedTuple):
    """The text of an utterance, its log probability, and where it lies in seconds."""

    text: str
    log_probability: float
    begin: float
    end: float


class _AudioTask(Task):
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
        self.length = features.frame_length if features else self.width
        self.up, self.down = model.metadata.outputs[0].rate
        # Samples of silence before the first of an utterance: whole rows of the model.
        self.lead = round(self.spec.lead * self.spec.sample_rate / self.step) * self.step

    @property
    def sample_rate(self) -> int:
        """Samples a second that the model takes."""
        return int(self.spec.sample_rate)

    def seconds(self, row: int) -> float:
        """When an output row has seen all its samples, in seconds since the utterance began, after its lead."""
        return (self.model.last_step(row) * self.step + self.length - self.lead) / self.sample_rate


class _AudioSession(SavedSession):
    """Cuts the signal into utterances where the task asks for it; each begins with a fresh state."""

    carries: ClassVar[tuple[str, ...]] = (
        "_stream",
        "_front",
        "_endpointer",
        "_held",
        "_taken",
        "_begin",
        "_lead",
        "_fed",
        "_row",
    )
    _held: np.ndarray
    _lead: int

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
        samples, begin = as_samples(piece), 0
        found: list[Any] = []
        for boundary in self._endpointer.feed(samples) if self._endpointer else ():
            if boundary.kind == "end":
                until = boundary.sample - self._taken
                found += self._advance(samples[begin:until])
                found += self._end(boundary.sample)
                begin = until
        found += self._advance(samples[begin:])
        self._taken += len(samples)
        return found

    def finish(self) -> list[Any]:
        """Ends the signal and returns its last events; the next block begins a new signal at time 0."""
        found = self._end(self._taken) if self._taken > self._begin else []
        if self._endpointer:
            self._endpointer.reset()
        self._taken = 0
        self._anew(0)
        return found

    def _advance(self, samples: np.ndarray) -> list[Any]:
        if self._lead and len(samples):
            samples, self._lead = np.concatenate([np.zeros(self._lead), samples]), 0
        if self._front is not None:
            rows = self._front.feed(samples)
        else:
            joined = np.concatenate([self._held, samples])
            count = len(joined) // self._task.width
            rows, self._held = joined[: count * self._task.width], joined[count * self._task.width :]
        return self._outputs(rows)

    def _outputs(self, rows: np.ndarray) -> list[Any]:
        if not rows.size:
            return []
        found = self._stream.feed(rows.astype(np.float32).reshape(-1, *self._task.shape))
        self._fed = True
        return self._decide(np.asarray(found))

    def _end(self, sample: int) -> list[Any]:
        found = self._outputs(self._front.finish()) if self._front is not None else []
        if self._fed:
            found += self._decide(np.asarray(self._stream.finish()))
        found += self._close(self._begin / self._task.sample_rate, sample / self._task.sample_rate)
        self._anew(sample)
        return found

    def _anew(self, sample: int) -> None:
        """Begin an utterance at a sample."""
        self._begin, self._fed, self._row = sample, False, 0
        self._held, self._lead = np.zeros(0), self._task.lead
        self._stream.reset()
        if self._front is not None:
            self._front.reset()

    def _time(self) -> float:
        """The time of the next output row, counted on."""
        self._row += 1
        return float(self._begin / self._task.sample_rate + self._task.seconds(self._row - 1))

    def _decide(self, rows: np.ndarray) -> list[Any]:
        """The events of output rows (n, labels)."""
        raise NotImplementedError

    def _close(self, begin: float, end: float) -> list[Any]:
        """The events of the end of an utterance."""
        raise NotImplementedError


class KeywordSpotter(_AudioTask):
    """Hears keywords in a signal: a label whose smoothed probability rises above a threshold is an event.

    A label is an event again only after it fell below the threshold, and no event comes within the refractory time
    of the one before. Where the task has endpoints each utterance begins with a fresh state, and its end is an
    `Utterance`.

    Args:
        model: takes samples or log-mel rows and gives logits (labels,); its file holds `labels.txt`.
    """

    spec_type = KeywordSpotterSpec

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        background = set(self.spec.background)
        if strange := background - set(self.labels):
            raise ArtifactError(f"the background labels {sorted(strange)} are no labels of the model; export it anew")
        self.keywords = [i for i, label in enumerate(self.labels) if label not in background]
        row = self.step * self.down / self.up / self.sample_rate
        self.window = max(1, round(self.spec.smoothing / row))

    def session(self) -> KeywordSpotterSession:
        """Takes blocks of samples (n,)."""
        return KeywordSpotterSession(self)

    def spot(self, samples: Any) -> list[Keyword]:
        """All keywords in a signal (n,)."""
        return [event for event in self.run([samples]) if isinstance(event, Keyword)]


class KeywordSpotterSession(_AudioSession):
    """One signal at a time through a `KeywordSpotter`. `scores`: the latest smoothed probabilities by label."""

    carries = ("_recent", "_above", "_smooth", "_last")

    def _anew(self, sample: int) -> None:
        super()._anew(sample)
        self._recent: deque[np.ndarray] = deque(maxlen=self._task.window)
        self._above: set[int] = set()
        self._smooth = np.zeros(len(self._task.labels))
        if sample == 0:
            self._last = -np.inf

    @property
    def scores(self) -> dict[str, float]:
        """The latest smoothed probabilities by label."""
        return dict(zip(self._task.labels, map(float, self._smooth), strict=True))

    def _decide(self, rows: np.ndarray) -> list[Any]:
        spec, found = self._task.spec, []
        for row in sigmoid(rows) if spec.multi_label else softmax(rows):
            self._recent.append(row)
            self._smooth = np.mean(self._recent, axis=0)
            time = self._time()
            above = {i for i in self._task.keywords if self._smooth[i] >= spec.threshold}
            risen = above - self._above
            self._above = above
            if risen and time - self._last >= spec.refractory:
                best = max(risen, key=lambda i: self._smooth[i])
                self._last = time
                found.append(Keyword(self._task.labels[best], float(self._smooth[best]), time))
        return found

    def _close(self, begin: float, end: float) -> list[Any]:
        if self._task.spec.endpoint is None or not self._recent:
            return []
        best = int(np.argmax(self._recent[-1]))
        return [Utterance(self._task.labels[best], float(self._recent[-1][best]), begin, end)]


class Transcriber(_AudioTask):
    """Writes down what is said, by CTC.

    With a width of 1 the tokens come as they are spoken (the most probable alignment); a wider beam sums over the
    alignments, and its text comes with the end of the utterance.

    Args:
        model: takes samples or log-mel rows and gives logits (labels,), one of them the blank; its file holds
            `labels.txt`.
    """

    spec_type = TranscriberSpec

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        if self.spec.blank >= len(self.labels):
            raise ArtifactError(
                f"the blank is {self.spec.blank}, the labels are {len(self.labels)}; export the model anew"
            )

    def session(self) -> TranscriberSession:
        """Takes blocks of samples (n,)."""
        return TranscriberSession(self)

    def transcribe(self, samples: Any) -> str:
        """The text of a signal (n,)."""
        found = [event.text for event in self.run([samples]) if isinstance(event, Transcript)]
        return str(self.spec.joiner).join(found)

    def text(self, tokens: Any) -> str:
        """The labels of tokens, joined."""
        return str(self.spec.joiner).join(self.labels[token] for token in tokens)


class TranscriberSession(_AudioSession):
    """One signal at a time through a `Transcriber`."""

    carries = ("_greedy", "_beam", "_tokens", "_score")

    def _anew(self, sample: int) -> None:
        super()._anew(sample)
        spec = self._task.spec
        self._greedy = CTCGreedy(spec.blank) if spec.width == 1 else None
        self._beam = CTCBeam(spec.blank, spec.width) if spec.width > 1 else None
        self._tokens: list[int] = []
        self._score = 0.0

    @property
    def partial(self) -> str:
        """The text so far; a wide beam may still change it."""
        return str(self._task.text(self._beam.best()[0].tokens if self._beam else self._tokens))

    def _decide(self, rows: np.ndarray) -> list[Any]:
        times = [self._time() for _ in rows]
        if self._beam is not None:
            self._beam.feed(rows)
            return []
        first = self._row - len(rows)
        self._score += float(log_softmax(rows.astype(np.float64)).max(axis=-1).sum()) if len(rows) else 0.0
        spikes = self._greedy.feed(rows)  # type: ignore[union-attr]
        self._tokens += [spike.token for spike in spikes]
        return [Token(self._task.labels[spike.token], times[spike.row - first]) for spike in spikes]

    def _close(self, begin: float, end: float) -> list[Any]:
        if self._beam is not None:
            best = self._beam.best()[0]
            self._tokens, self._score = list(best.tokens), best.log_probability
        return [Transcript(self._task.text(self._tokens), self._score, begin, end)] if self._tokens else []
