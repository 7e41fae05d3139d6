"""Text in one language to text in another: of whole sentences, or word by word while one speaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from streaming.errors import ArtifactError, InputError
from streaming.runtime.carried import Carrier, SavedSession
from streaming.runtime.codec import END, PAD, START, UNKNOWN
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks.base import Task, read_codec
from streaming.runtime.tasks.schema import TranslatorSpec
from streaming.runtime.tasks.texts import BANNED, Searcher, Text

_SOURCE, _TARGET = "source", "target"


class TranslatedWord(NamedTuple):
    """A word of the translation, and how many pieces of the source had been read when it was written."""

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
        """A session that takes words and writes while it reads: it stays `wait_k` pieces behind (Ma et al. 2019).

        The model reads the source so far again with each piece, and then what was written.

        Raises:
            InputError: `wait_k` is less than 1, or neither given nor named by the file; or the model reads sources from
                their end.
        """
        if self.spec.reverse_source:
            raise InputError("the model reads a source from its end, which is not known yet; use translate")
        return SimultaneousSession(self, _Rereading(self), wait_k)

    def numbers(self, text: str) -> np.ndarray:
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
        found = self._task.translations([piece], **self._options)[0]
        self.words, self.unknown = self.words + len(ids), self.unknown + int((ids == UNKNOWN).sum())
        return found

    def finish(self) -> list[Text]:
        """Nothing: each sentence is answered at once."""
        return []


class SimultaneousTranslator(Task):
    """Translates word by word at constant cost: a model with two inputs, one step for each piece of the source.

    At step s the model takes source piece s (the end token after the last, then padding) and, from step k on, the
    target piece written last (the start token at step k, padding before); it gives the logits of the next one.

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
        return SimultaneousSession(self, _Lockstep(self), None)

    def translate(self, text: str) -> str:
        """The translation of a sentence, as it would have been written while it was read."""
        return " ".join(event.word for event in self.run([text]))


class SimultaneousSession(SavedSession):
    """One sentence at a time, word by word: reads k pieces, then writes one for each that it reads."""

    carries = ("words", "unknown", "_k", "_policy", "_read", "_written", "_open")

    def __init__(self, task: Any, policy: Any, wait_k: int | None):
        super().__init__(task)
        self._k = task.spec.wait_k if wait_k is None else wait_k
        if self._k is None or self._k < 1:
            raise InputError(f"wait_k is {self._k}, expected 1 piece or more; the file may name it too")
        self._policy = policy
        self.words = self.unknown = 0
        self._anew()

    def feed(self, piece: str) -> Iterator[TranslatedWord]:
        """The words that a word of the source brings; it is translated when they are asked for."""
        for number in map(int, self._task.source.encode(piece)):
            self.words, self.unknown = self.words + 1, self.unknown + (number == UNKNOWN)
            self._read += 1
            wanted = self._read >= self._k
            token = self._policy.read(number, wanted)
            if wanted:
                yield from self._write(token)

    def finish(self) -> Iterator[TranslatedWord]:
        """The rest of the translation; the next word begins a new sentence."""
        if self._read:
            for token in self._policy.rest(self._k, self._task.spec.max_length - self._written):
                yield from self._write(token)
            if self._open:
                yield self._word()
        self._anew()

    def _anew(self) -> None:
        self._policy.reset()
        self._read = self._written = 0
        self._open: list[int] = []

    def _write(self, token: int) -> Iterator[TranslatedWord]:
        if self._open and self._task.codec.begins_word(token):
            yield self._word()
        self._open.append(token)
        self._written += 1

    def _word(self) -> TranslatedWord:
        word, self._open = self._task.codec.decode(self._open), []
        return TranslatedWord(word, self._read)


class _Rereading(Carrier):
    """Greedy writing with a model that must be given the whole source: with each piece it begins anew."""

    carries = ("_source", "_target")

    def __init__(self, task: Translator):
        self._task = task
        self.reset()

    def reset(self) -> None:
        self._source: list[int] = []
        self._target: list[int] = [START]

    def read(self, number: int, wanted: bool) -> int:
        self._source.append(number)
        if not wanted:
            return PAD
        _, row = self._begun(self._source)
        return self._chosen(row, ended=False)

    def rest(self, k: int, most: int) -> Iterator[int]:
        stream, row = self._begun([*self._source, END] if self._task.spec.source_end else self._source)
        for _ in range(most):
            token = self._chosen(row, ended=True)
            if token == END:
                return
            yield token
            row = stream.feed(np.array([token], self._task.model.metadata.inputs[0].dtype))[-1]

    def _begun(self, source: list[int]) -> tuple[Any, np.ndarray]:
        stream = self._task.model.create_stream()
        stream.encode(np.array(source, np.int32))
        return stream, stream.feed(np.array(self._target, self._task.model.metadata.inputs[0].dtype))[-1]

    def _chosen(self, row: np.ndarray, ended: bool) -> int:
        token = best_token(row, ended)
        self._target.append(token)
        return token


class _Lockstep(Carrier):
    """Greedy writing with a model that takes a piece of the source and one of the target at each step."""

    carries = ("_stream", "_last", "_steps")

    def __init__(self, task: SimultaneousTranslator):
        self._stream = task.model.create_stream()
        self._types = {info.name: info.dtype for info in task.model.metadata.inputs}
        self._end = task.spec.source_end
        self.reset()

    def reset(self) -> None:
        self._stream.reset()
        self._last, self._steps = START, 0

    def read(self, number: int, wanted: bool) -> int:
        return self._step(number, wanted, ended=False)

    def rest(self, k: int, most: int) -> Iterator[int]:
        number = END if self._end else PAD
        while most > 0:
            wanted = self._steps + 1 >= k
            token = self._step(number, wanted, ended=True)
            number = PAD
            if not wanted:
                continue
            if token == END:
                return
            most -= 1
            yield token

    def _step(self, number: int, wanted: bool, ended: bool) -> int:
        values = {_SOURCE: number, _TARGET: self._last if wanted else PAD}
        row = self._stream.step({name: np.array([value], self._types[name]) for name, value in values.items()})[0]
        self._steps += 1
        if wanted:
            self._last = best_token(row, ended)
        return self._last


def best_token(row: np.ndarray, ended: bool) -> int:
    """The most probable token of a row of logits; the end only where the source has ended."""
    scores = np.array(row)
    scores[[*BANNED] if ended else [*BANNED, END]] = -np.inf
    return int(np.argmax(scores))
