"""Composes by a streaming composer: alone, under a melody, or over a bass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.errors import DataError
from rnnzoo.tasks.composer.harmony import BAR, VOICES, Chord, has_parallels
from streaming.runtime.codec import END, START
from streaming.runtime.decoding import Sampling, log_softmax
from streaming.runtime.stream import Stream
from streaming.runtime.tasks import Generator

MAX_CHORDS = 1000
# Highest notes that are tried for a given bass.
_TRIED = 12


class Composer:
    """Composes chords of up to four notes.

    Args:
        task: a generator over MIDI numbers and the end of chords, as `ComposerTask` makes it.
        temperature: at which notes are drawn; that of the file where None.
        seed: the same seed gives the same piece.
        tries: a chord that makes parallels with the one before is drawn again, so often at most; 1: never.

    Raises:
        DataError: the generator writes something else.
        InputError: the temperature is out of range.
    """

    def __init__(self, task: Generator, temperature: float | None = None, seed: int = 0, tries: int = 1):
        words = [entry.strip("\u2581") for entry in task.codec.entries]
        self._numbers = {int(word): number for number, word in enumerate(words) if word.isdecimal()}
        if BAR not in words or not self._numbers:
            raise DataError("composing needs a generator of MIDI numbers, such as compose-chorales; this is another")
        self._notes = {number: note for note, number in self._numbers.items()}
        self._end = words.index(BAR)
        self._task, self._rng, self._tries = task, np.random.default_rng(seed), tries
        self._sampling = Sampling(task.spec.temperature if temperature is None else temperature)

    @property
    def compass(self) -> tuple[int, int]:
        """The lowest and the highest MIDI number of the model."""
        return min(self._numbers), max(self._numbers)

    def compose(
        self, count: int = 48, melody: Sequence[int] | None = None, bass: Sequence[int] | None = None
    ) -> list[Chord]:
        """The chords of a piece, the highest note first.

        Args:
            count: most chords where nothing is given; the model may end the piece before.
            melody: the highest note of each chord, as MIDI numbers; the piece has as many chords.
            bass: the lowest note of each chord.

        Raises:
            DataError: a note is none of the model's, the bass is not below the melody, or they differ in length.
        """
        self._check(count, melody, bass)
        given = melody if melody is not None else bass
        length = count if given is None else len(given)
        stream: Stream = self._task.model.create_stream()
        logits, chords = self._step(stream, START), list[Chord]()
        for place in range(length):
            top = None if melody is None else melody[place]
            low = None if bass is None else bass[place]
            for left in range(self._tries - 1, -1, -1):
                way = stream.fork() if left else stream
                after, out, chord = self._chord(way, logits, top, low, place > 0 and given is None)
                if chord is None or not chords or not has_parallels(chords[-1], chord):
                    break
            if chord is None:
                break
            stream, logits = after, out
            chords.append(chord)
        return chords

    def _chord(
        self, stream: Stream, logits: NDArray[Any], top: int | None, low: int | None, may_end: bool
    ) -> tuple[Stream, NDArray[Any], Chord | None]:
        """A chord after those that the stream has seen; None at the end of the piece."""
        if top is None:
            # There has to be room for a bass.
            above = [note for note in self._notes.values() if note > (self.compass[0] if low is None else low)]
            allowed = [self._numbers[note] for note in above] + [END] * may_end
            if low is not None:
                stream, logits, number = self._over(stream, logits, low, allowed)
            else:
                number = self._draw(logits, allowed)
                if number == END:
                    return stream, logits, None
                logits = self._step(stream, number)
            top = self._notes[number]
        else:
            logits = self._step(stream, self._numbers[top])
        if low is None:
            low = self._notes[self._draw(logits, self._between(0, top))]
        logits = self._step(stream, self._numbers[low])
        inner: list[int] = []
        while len(inner) < len(VOICES) - 2:
            number = self._draw(logits, [*self._between(low, inner[-1] if inner else top), self._end])
            if number == self._end:
                break
            inner.append(self._notes[number])
            logits = self._step(stream, number)
        return stream, self._step(stream, self._end), (top, *inner, low)

    def _over(
        self, stream: Stream, logits: NDArray[Any], low: int, allowed: list[int]
    ) -> tuple[Stream, NDArray[Any], int]:
        """A highest note for a given bass, drawn by P(note) P(bass | note) among the most probable notes."""
        scores = log_softmax(logits)
        tried = sorted(allowed, key=lambda number: -scores[number])[:_TRIED]
        ways = [stream.fork() for _ in tried]
        after = [self._step(way, number) for way, number in zip(ways, tried, strict=True)]
        together = [
            scores[number] + log_softmax(out)[self._numbers[low]] for number, out in zip(tried, after, strict=True)
        ]
        chosen = self._sampling.draw(np.array(together), self._rng)
        return ways[chosen], after[chosen], tried[chosen]

    def _between(self, low: int, high: int) -> list[int]:
        return [self._numbers[note] for note in range(low + 1, high) if note in self._numbers]

    def _draw(self, logits: NDArray[Any], allowed: list[int]) -> int:
        """One of the allowed numbers, by their probabilities."""
        return allowed[self._sampling.draw(logits[allowed], self._rng)]

    def _step(self, stream: Stream, number: int) -> NDArray[Any]:
        """Logits after a number."""
        model = self._task.model
        output = stream.step(np.array([number], model.metadata.inputs[0].dtype))
        return np.asarray(model.metadata.outputs[0].dequantize(output)[0], np.float64)

    def _check(self, count: int, melody: Sequence[int] | None, bass: Sequence[int] | None) -> None:
        low, high = self.compass
        # There is a note below each melody, and one above each bass.
        for name, notes, least, most in (("melody", melody, low + 1, high), ("bass", bass, low, high - 1)):
            if notes is not None and not notes:
                raise DataError(f"the {name} has no note; give one for each chord")
            strange = [note for note in notes or () if not least <= note <= most]
            if strange:
                raise DataError(
                    f"the {name} has the note {strange[0]}; the model knows {least} to {most}: transpose it"
                )
        if melody is not None and bass is not None:
            if len(melody) != len(bass):
                raise DataError(f"the melody has {len(melody)} notes, the bass {len(bass)}; give as many of both")
            crossed = [place for place, (top, low) in enumerate(zip(melody, bass, strict=True), 1) if low >= top]
            if crossed:
                raise DataError(f"the bass is not below the melody in chord {crossed[0]}")
        length = max(count, len(melody or ()), len(bass or ()))
        if count < 1 or length > MAX_CHORDS:
            raise DataError(f"a piece has 1 to {MAX_CHORDS} chords; received {length if count >= 1 else count}")
