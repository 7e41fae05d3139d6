"""Speech recognition: audio in blocks of any size to text."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError
from streaming.runtime.decoding import CTCBeam, CTCGreedy, log_softmax
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks.schema import TranscriberSpec
from streaming.runtime.tasks.sound import AudioSession, AudioTask


class Token(NamedTuple):
    """A piece of text, and the time of its detection, in seconds and in samples of the model's rate."""

    text: str
    time: float
    sample: int = 0


class Transcript(NamedTuple):
    """The text of an utterance, its log probability, and its bounds in seconds and in samples."""

    text: str
    log_probability: float
    begin: float
    end: float
    begin_sample: int = 0
    end_sample: int = 0


class Transcriber(AudioTask):
    """Transcribes speech by CTC.

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
        texts = [event.text for event in self.run([samples]) if isinstance(event, Transcript)]
        return str(self.spec.joiner).join(texts)

    def text(self, tokens: Any) -> str:
        """The labels of tokens, joined."""
        return str(self.spec.joiner).join(self.labels[token] for token in tokens)


class TranscriberSession(AudioSession):
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

    def _decide(self, rows: NDArray[Any]) -> list[Any]:
        self._row += len(rows)
        if self._beam is not None:
            self._beam.feed(rows)
            return []
        self._score += float(log_softmax(rows.astype(np.float64)).max(axis=-1).sum()) if len(rows) else 0.0
        spikes = self._greedy.feed(rows)  # type: ignore[union-attr]
        self._tokens += [spike.token for spike in spikes]
        places = [(self._task.labels[spike.token], self._seen(spike.row)) for spike in spikes]
        return [Token(text, sample / self._task.sample_rate, sample) for text, sample in places]

    def _close(self, begin: int, end: int) -> list[Any]:
        if self._beam is not None:
            best = self._beam.best()[0]
            self._tokens, self._score = list(best.tokens), best.log_probability
        if not self._tokens:
            return []
        text, rate = self._task.text(self._tokens), self._task.sample_rate
        return [Transcript(text, self._score, begin / rate, end / rate, begin, end)]
