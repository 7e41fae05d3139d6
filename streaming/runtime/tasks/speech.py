"""Tasks that speak: words and a voice in, a signal out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError
from streaming.runtime.audio import griffin_lim, magnitudes
from streaming.runtime.carried import SavedSession
from streaming.runtime.decoding.frames import FrameDensity
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks.base import Task, real_rows
from streaming.runtime.tasks.schema import SynthesizerSpec

# Seconds of silence between two words.
_PAUSE = 0.1


class Frames(NamedTuple):
    """Log-mel features (n, num_mels) of a word, and whether the model ended it."""

    rows: NDArray[Any]
    ended: bool


class Speech(NamedTuple):
    """A text as it was spoken: samples (n,) of float32, `sample_rate` a second.

    `ended`: the model ended every word by itself, before it became too long.
    """

    text: str
    voice: str
    seconds: float
    ended: bool
    sample_rate: int
    samples: NDArray[Any]


class Synthesizer(Task):
    """Speaks words in a voice: some frames of log-mel features a step, given the last one, and a signal from them.

    Args:
        model: takes `rows` (num_mels,), the last frame, and `given` (words + voices,), 1 at the word and at the voice;
            gives 2 R num_mels + 1 numbers, as `decoding.frames.FrameDensity` reads them.
    """

    takes: ClassVar[str] = "text"
    spec_type = SynthesizerSpec
    spec: SynthesizerSpec

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        spec, meta = self.spec, model.metadata
        shapes = {info.name: tuple(info.shape) for info in meta.inputs}
        mels = spec.features.num_mels
        wanted = {"rows": (mels,), "given": (len(spec.words) + len(spec.voices),)}
        size = 2 * spec.reduction * mels + 1
        if shapes != wanted or len(meta.outputs) > 1 or math.prod(meta.outputs[0].shape) != size or model.delay:
            raise ArtifactError(
                f"a synthesizer takes {wanted} and gives {size} numbers without delay; the model takes {shapes}. "
                "Export the model anew"
            )

    @property
    def sample_rate(self) -> int:
        """Samples of speech a second."""
        return self.spec.features.sample_rate

    def session(self) -> SynthesizerSession:
        """Takes texts, each by itself; gives speech."""
        return SynthesizerSession(self)

    def say(self, text: str, **options: Any) -> Speech:
        """The speech of words with spaces between them.

        Args:
            text: words of `spec.words`.
            options: `voice`, `temperature`, `max_length` and `seed`, as `frames` takes them; each word is drawn anew.

        Raises:
            InputError: a word or the voice is unknown, or an option is out of its range.
        """
        words = text.split()
        if not words:
            raise InputError(f"the text holds no word; give some of {', '.join(self.spec.words)}")
        seed, options = options.pop("seed", 0), dict(options)
        spoken = [self.frames(word, seed=(seed, place), **options) for place, word in enumerate(words)]
        pause = np.zeros(round(_PAUSE * self.sample_rate), np.float32)
        parts = [part for frames in spoken for part in (pause, self.signal(frames.rows))][1:]
        samples = np.concatenate(parts)
        voice, ended = options.get("voice") or self.spec.voices[0], all(frames.ended for frames in spoken)
        return Speech(text, voice, len(samples) / self.sample_rate, ended, self.sample_rate, samples)

    def frames(
        self,
        word: str,
        *,
        voice: str | None = None,
        temperature: float | None = None,
        max_length: int | None = None,
        seed: int | tuple[int, ...] = 0,
    ) -> Frames:
        """The log-mel features of a word.

        Args:
            word: one of `spec.words`.
            voice: one of `spec.voices`; None: the first.
            temperature: multiplies the variances of what is drawn; 0 takes the means; that of the file where None.
            max_length: most frames; that of the file where None.
            seed: the same seed gives the same frames.

        Raises:
            InputError: the word or voice is unknown, or an option is out of its range.
        """
        spec = self.spec
        chosen = spec.temperature if temperature is None else temperature
        most = spec.max_length if max_length is None else max_length
        if not 0 <= chosen < math.inf or most < 1:
            raise InputError(f"temperature is {chosen} and max_length {most}, expected 0 or more and 1 or more")
        given = self.given(word, voice)
        generator, stream = np.random.default_rng(seed), self.model.create_stream()
        row, parts, ended = np.zeros(spec.features.num_mels), list[NDArray[Any]](), False
        while not ended and len(parts) * spec.reduction < most:
            output = stream.step({"rows": row.astype(np.float32)[None], "given": given[None]})
            density = FrameDensity.read(real_rows(self.model, output).ravel(), spec.reduction, spec.floor)
            parts.append(density.draw(generator, chosen))
            row, ended = parts[-1][-1], density.ends
        rows = np.concatenate(parts)[:most]
        return Frames(rows * np.array(spec.scaler.scale) + np.array(spec.scaler.mean), ended)

    def given(self, word: str, voice: str | None = None) -> NDArray[Any]:
        """What the model is given of a word and a voice, (words + voices,) of float32; raises InputError."""
        spec = self.spec
        row = np.zeros(len(spec.words) + len(spec.voices), np.float32)
        row[_place(word, spec.words, "word")] = 1
        row[len(spec.words) + (0 if voice is None else _place(voice, spec.voices, "voice"))] = 1
        return row

    def signal(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The signal (N,) of log-mel features (n, num_mels), float32 between -1 and 1."""
        features = self.spec.features
        samples = griffin_lim(magnitudes(rows, features), features, self.spec.iterations)
        return np.clip(samples, -1, 1).astype(np.float32)


class SynthesizerSession(SavedSession):
    """Texts through a `Synthesizer`; `options` are those of `Synthesizer.say`."""

    carries = ("words", "unknown")

    def __init__(self, task: Synthesizer, **options: Any):
        super().__init__(task)
        self._options = options
        self.words = self.unknown = 0

    def feed(self, piece: str) -> list[Speech]:
        """The speech of a text."""
        self.words += len(piece.split())
        return [self._task.say(piece, **self._options)]

    def finish(self) -> list[Speech]:
        """Nothing: each text is spoken at once."""
        return []


def _place(name: str, known: Sequence[str], what: str) -> int:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, cutoff=0.3)
        nearest = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"the model has no {what} {name!r}; {nearest}it has {', '.join(known)}")
    return known.index(name)
