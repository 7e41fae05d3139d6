"""Chords as words, and the faults that teachers of harmony count in four voices."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from rnnzoo.errors import DataError

# Ends a chord; a chord is a tuple of MIDI numbers, the highest first.
BAR = "|"
Chord = tuple[int, ...]
VOICES = ("soprano", "alto", "tenor", "bass")
# Compass of each voice in MIDI numbers: C4 to A5, F3 to D5, C3 to A4, E2 to E4.
COMPASS = ((60, 81), (53, 74), (48, 69), (40, 64))
_FIFTH, _OCTAVE = 7, 12


def chord_words(notes: Iterable[int]) -> list[str]:
    """The words of a chord: its highest note, its lowest, those between from the highest on, and the end.

    One chord has one order, so that the probabilities of its words give that of the chord.
    """
    high = sorted(set(notes), reverse=True)
    return [*map(str, [*high[:1], *high[1:][-1:], *high[1:-1]]), BAR]


def read_chords(text: str) -> list[Chord]:
    """The chords of words, the highest note first; what follows the last end is no chord yet.

    Raises:
        DataError: a word is no MIDI number.
    """
    chords: list[Chord] = []
    notes: list[int] = []
    for word in text.split():
        if word == BAR:
            chords.append(tuple(sorted(set(notes), reverse=True)))
            notes = []
        elif word.isdecimal() and int(word) < 128:
            notes.append(int(word))
        else:
            raise DataError(f"{word!r} is no note: expected MIDI numbers of 0 to 127, and {BAR} after each chord")
    return chords


def harmony_figures(pieces: Iterable[Sequence[Chord]]) -> dict[str, float]:
    """Faults in pieces of chords.

    Returns:
        `parallel_fifths` and `parallel_octaves`: pairs of voices that move in one direction from a fifth to a fifth, or
        from an octave or unison to one, in a hundred changes between chords of four notes; `range_faults`: notes
        outside of the compass of their voice, in a hundred notes of such chords.
    """
    fifths = octaves = changes = outside = notes = 0
    for piece in pieces:
        for chord in piece:
            if len(chord) == len(VOICES):
                notes += len(chord)
                outside += sum(not low <= note <= high for note, (low, high) in zip(chord, COMPASS, strict=True))
        for before, after in itertools.pairwise(piece):
            if len(before) == len(after) == len(VOICES):
                changes += 1
                fifths += _parallels(before, after, _FIFTH)
                octaves += _parallels(before, after, 0)
    return {
        "parallel_fifths": 100 * fifths / max(1, changes),
        "parallel_octaves": 100 * octaves / max(1, changes),
        "range_faults": 100 * outside / max(1, notes),
    }


def has_parallels(before: Chord, after: Chord) -> bool:
    """Whether two voices move in parallel fifths, octaves or unisons, between chords of four notes."""
    full = len(before) == len(after) == len(VOICES)
    return full and any(_parallels(before, after, interval) for interval in (_FIFTH, 0))


def _parallels(before: Chord, after: Chord, interval: int) -> int:
    count = 0
    for one, other in itertools.combinations(range(len(before)), 2):
        moves = after[one] - before[one], after[other] - before[other]
        same = (before[one] - before[other]) % _OCTAVE == interval == (after[one] - after[other]) % _OCTAVE
        count += same and moves[0] * moves[1] > 0
    return count
