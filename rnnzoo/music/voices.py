"""Chords as voices: which note each voice sings, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

VOICES = 4


class Note(NamedTuple):
    """A note of a voice: its MIDI number, the quarter note that it begins at, and how many it lasts."""

    pitch: int
    begin: int
    length: int


def voices_of(chords: Sequence[Sequence[int]]) -> list[list[Note]]:
    """The notes of soprano, alto, tenor and bass; a pitch that a voice has twice in a row is one long note.

    Args:
        chords: MIDI numbers, the highest first. In a chord of fewer than four, voices share a note, the inner ones the
            nearest to what they sang before; in one of more than four, the inner ones beyond that are left out.
    """
    sung: list[list[Note]] = [[] for _ in range(VOICES)]
    for step, chord in enumerate(chords):
        for voice, pitch in zip(sung, _shared(chord, sung), strict=True):
            last = voice[-1] if voice else None
            if last is not None and last.pitch == pitch and last.begin + last.length == step:
                voice[-1] = last._replace(length=last.length + 1)
            elif pitch is not None:
                voice.append(Note(pitch, step, 1))
    return sung


def _shared(chord: Sequence[int], sung: list[list[Note]]) -> list[int | None]:
    if not chord:
        return [None] * VOICES
    if len(chord) >= VOICES:
        return [chord[0], chord[1], chord[-2], chord[-1]]
    inner = []
    for voice in sung[1:3]:
        before = voice[-1].pitch if voice else chord[len(chord) // 2]
        inner.append(min(chord[1:-1] or chord, key=lambda pitch: abs(pitch - before)))
    return [chord[0], *sorted(inner, reverse=True), chord[-1]]
