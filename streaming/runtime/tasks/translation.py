"""Translation of whole sentences, or simultaneously, word by word."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError
from streaming.runtime.carried import Carrier, SavedSession
from streaming.runtime.codec import END, PAD, START, UNKNOWN, TextCodec
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks.base import Task, read_codec
from streaming.runtime.tasks.schema import TranslatorSpec
from streaming.runtime.tasks.texts import BANNED, Searcher, Text

_SOURCE, _TARGET = "source", "target"


# Steps: pieces of the source and of the target, one of the two padding; they are answered by the logits after the last.
Steps = list[tuple[int, int]]
Turn = Generator[Steps, NDArray[Any], "list[TranslatedWord]"]


class TranslatedWord(NamedTuple):
    """A word of the translation, and the number of words and punctuation marks of the source read by then."""

    word: str
    read: int


class Translator(Searcher):
    """Translates sentences.

    Args:
        model: is given the source whole (numbers), then takes a number a step and gives the logits of the next; its
            file holds `source.json` and `target.json`.
    """

    takes: ClassVar[str] = "text"
    spec_type = TranslatorSpec
    spec: TranslatorSpec

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        self.source = read_codec(model, "source.json")

    def session(self) -> TranslatorSession:
        """Takes sentences, each by itself."""
        return TranslatorSession(self)

    def translate(self, text: str, **options: Any) -> str:
        """The best translation of a sentence; takes and raises what `translations` does."""
        return self.translations([text], **options)[0][0].text

    def translations(self, texts: Sequence[str], **options: Any) -> list[list[Text]]:
        """The best translations of each sentence, best first.

        Args:
            texts: sentences.
            options: as for `search`.

        Raises:
            InputError: a sentence is empty or longer than the model takes.
        """
        return self.search([self.numbers(text) for text in texts], **options)

    def simultaneous(self, wait_k: int | None = None) -> SimultaneousSession:
        """A session that takes words and translates simultaneously, `wait_k` words behind the source (Ma et al. 2019).

        For each word, the model reads the source so far, and the translation so far, again.

        Raises:
            InputError: `wait_k` is less than 1, or neither given nor named by the file; or the model reads sources from
                their end.
        """
        if self.spec.reverse_source:
            raise InputError("the model reads a source from its end, which is not known yet; use translate")
        return SimultaneousSession(self, _Rereading(self), wait_k)

    def numbers(self, text: str) -> NDArray[Any]:
        """The source as the model takes it; raises InputError where it is empty."""
        ids = self.source.encode(text)
        if not len(ids):
            raise InputError("a translator needs at least one word; received none")
        ids = ids[::-1] if self.spec.reverse_source else ids
        return np.append(ids, np.int32(END)) if self.spec.source_end else ids


class TranslatorSession(SavedSession):
    """Sentences through a `Translator`; `options` are those of `Translator.translations`."""

    carries = ("words", "unknown")

    def __init__(self, task: Translator, **options: Any):
        super().__init__(task)
        self._options = options
        self.words = self.unknown = 0

    def feed(self, piece: str) -> list[Text]:
        """The best translation of a sentence."""
        ids = self._task.source.encode(piece)
        texts = self._task.translations([piece], **self._options)[0]
        self.words, self.unknown = self.words + len(ids), self.unknown + int((ids == UNKNOWN).sum())
        return texts

    def finish(self) -> list[Text]:
        """Nothing: each sentence is answered at once."""
        return []


class SimultaneousTranslator(Task):
    """Translates word by word at constant cost: a model with two inputs, one step for each piece read or written.

    A step that reads takes a piece of the source (after the last one, the end token), and a step that writes takes a
    piece of the target; the other input is padding. The logits are those of the next piece of the target; the end token
    means that more must be read before the next piece.

    Args:
        model: takes numbers `source` and `target`; its file holds `source.json` and `target.json`, its task `wait_k`.
    """

    takes: ClassVar[str] = "text"
    spec_type = TranslatorSpec
    spec: TranslatorSpec

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        if {info.name for info in model.metadata.inputs} != {_SOURCE, _TARGET} or model.delay or not self.spec.wait_k:
            raise ArtifactError(
                "simultaneous translation needs a model without delay that takes 'source' and 'target', and wait_k in "
                "its task; export the model anew"
            )
        self.source = read_codec(model, "source.json")
        self.codec = read_codec(model, "target.json", model.metadata.outputs[0].shape[0])

    def session(self) -> SimultaneousSession:
        """Takes words, or any pieces of text that begin with one."""
        return SimultaneousSession(self, _InTurns(self), None)

    def translate(self, text: str) -> str:
        """The translation of a sentence, as it would have been written while it was read."""
        return " ".join(event.word for event in self.run([text]))


class WaitK(Carrier):
    """The wait-k policy: read k words or punctuation marks, then write one for each that is read (Ma et al. 2019).

    Args:
        k: how many are read before the first is written.
        codec: of what is written.
        most: pieces of the translation.
    """

    carries = ("_k", "_read", "_written", "_open")

    def __init__(self, k: int, codec: TextCodec, most: int):
        self._k, self._codec, self._most = k, codec, most
        self._read = self._written = 0
        self._open: list[int] = []

    def read(self, unit: Sequence[int]) -> Turn:
        """Read a word or punctuation mark, then write one; returns the words that are complete."""
        self._read += 1
        row = yield [(number, PAD) for number in unit]
        return (yield from self._write(row, ended=False)) if self._read >= self._k else []

    def finish(self, end: int) -> Turn:
        """Read the end token, if anything came before it, and write the rest."""
        if not self._read:
            return []
        row = yield [(end, PAD)]
        words = yield from self._write(row, ended=True)
        return [*words, self._word()] if self._open else words

    def _write(self, row: NDArray[Any], ended: bool) -> Turn:
        words, first = [], True
        while self._written < self._most:
            scores = np.array(row)
            scores[[*BANNED]] = -np.inf
            token = int(np.argmax(scores))
            # What would begin another word is not written, but read for.
            if token == END or (not first and not ended and self._codec.begins_unit(token)):
                break
            if self._open and self._codec.begins_word(token):
                words.append(self._word())
            self._open.append(token)
            self._written, first = self._written + 1, False
            row = yield [(PAD, token)]
        return words

    def _word(self) -> TranslatedWord:
        word, self._open = self._codec.decode(self._open), []
        return TranslatedWord(word, self._read)


class SimultaneousSession(SavedSession):
    """One sentence at a time, word by word: reads k words, then writes one for each that it reads."""

    carries = ("words", "unknown", "_k", "_policy", "_pace")

    def __init__(self, task: Any, policy: Any, wait_k: int | None):
        super().__init__(task)
        self._k = task.spec.wait_k if wait_k is None else wait_k
        if self._k is None or self._k < 1:
            raise InputError(f"wait_k is {self._k}, expected 1 word or more; the file may name it too")
        self._policy = policy
        self.words = self.unknown = 0
        self._anew()

    def feed(self, piece: str) -> Iterator[TranslatedWord]:
        """The words written after a word of the source; it is translated when the iterator is consumed."""
        for unit in self._task.source.units(self._task.source.encode(piece)):
            self.words, self.unknown = self.words + len(unit), self.unknown + unit.count(UNKNOWN)
            yield from self._answered(self._pace.read(unit))

    def finish(self) -> Iterator[TranslatedWord]:
        """The rest of the translation; the next word begins a new sentence."""
        yield from self._answered(self._pace.finish(END if self._task.spec.source_end else PAD))
        self._anew()

    def _anew(self) -> None:
        self._policy.reset()
        self._pace = WaitK(self._k, self._task.codec, self._task.spec.max_length)

    def _answered(self, turn: Turn) -> list[TranslatedWord]:
        try:
            steps = next(turn)
            while True:
                steps = turn.send(self._policy.advance(steps))
        except StopIteration as end:
            return list(end.value)


class _Rereading(Carrier):
    """The logits of a model that must be given the whole source: when more of it has come, it begins anew."""

    carries = ("_source", "_target")

    def __init__(self, task: Translator):
        self._task = task
        self._dtype = task.model.metadata.inputs[0].dtype
        self.reset()

    def reset(self) -> None:
        self._source: list[int] = []
        self._target: list[int] = [START]

    def advance(self, steps: Steps) -> NDArray[Any]:
        sources, targets = ([number for number in side if number != PAD] for side in zip(*steps, strict=True))
        self._source += sources
        self._target += targets
        if not targets:
            self._stream = self._task.model.create_stream()
            self._stream.encode(np.array(self._source, np.int32))
            targets = self._target
        return self._stream.feed(np.array(targets, self._dtype))[-1]


class _InTurns(Carrier):
    """The logits of a model that takes a piece of the source or one of the target at each step."""

    carries = ("_stream",)

    def __init__(self, task: SimultaneousTranslator):
        self._stream = task.model.create_stream()
        self._types = {info.name: info.dtype for info in task.model.metadata.inputs}
        self._real = task.model.metadata.outputs[0].dequantize

    def reset(self) -> None:
        self._stream.reset()

    def advance(self, steps: Steps) -> NDArray[Any]:
        sides = dict(zip((_SOURCE, _TARGET), zip(*steps, strict=True), strict=True))
        rows = self._stream.feed({name: np.array(side, self._types[name]) for name, side in sides.items()})
        return self._real(rows[-1])
