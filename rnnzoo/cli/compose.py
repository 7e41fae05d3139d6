"""`rnnzoo compose`: a chorale as MIDI and as sound."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import streaming
from rnnzoo.bundles.build import ready_files
from rnnzoo.errors import ConfigError, DataError, UsageError
from rnnzoo.music.midi import read_line, write_midi
from rnnzoo.music.synthesis import synthesize, write_wav
from rnnzoo.tasks.composer.composing import Composer
from rnnzoo.tasks.composer.harmony import Chord, harmony_figures
from rnnzoo.tasks.evaluation import expect_task
from streaming.runtime.tasks import Generator

_NAME = re.compile(r"([A-Ga-g])([#b]?)(-?\d)")
_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
MAX_TRIES = 100
_SUFFIXES = {".mid": "MIDI", ".midi": "MIDI", ".wav": "sound"}


def compose(
    bundle: Path,
    outs: list[Path],
    *,
    count: int,
    melody: str | None,
    bass: str | None,
    temperature: float | None,
    seed: int,
    tries: int,
    tempo: float,
) -> tuple[list[Chord], dict[str, float]]:
    """Compose a piece by the streaming file of a bundle, and write it.

    Args:
        bundle: folder of a bundle of a composer.
        outs: .mid and .wav files.
        count: most chords, where neither melody nor bass is given.
        melody, bass: a .mid file, or notes such as "67 69 C5 B4", one a chord.
        temperature: that of the file where None.
        seed: the same seed gives the same piece.
        tries: a chord that makes parallels is drawn again, so often at most.
        tempo: quarter notes a minute.

    Returns:
        The chords, and the faults that `harmony_figures` counts.

    Raises:
        UsageError: a file has another suffix, or the tempo is out of range.
        ConfigError: the bundle has no streaming file.
        DataError: it is of another task, a melody or bass is none, or a file cannot be written.
        InputError: the temperature is out of range.
    """
    for path in outs:
        if path.suffix.lower() not in _SUFFIXES:
            raise UsageError(f"--out is a .mid or .wav file; received {str(path)!r}")
    if not 10 <= tempo <= 400:
        raise UsageError(f"--tempo is 10 to 400 quarter notes a minute; received {tempo:g}")
    if not 1 <= tries <= MAX_TRIES:
        raise UsageError(f"--tries is 1 to {MAX_TRIES}; received {tries}")
    lines: dict[str, Any] = {
        name: None if text is None else read_notes(text, name) for name, text in (("melody", melody), ("bass", bass))
    }
    files = ready_files(bundle)
    if not files:
        raise ConfigError(f"{bundle} has no streaming file; make it with rnnzoo bundle")
    task = expect_task(streaming.pipeline(files["float32"]), Generator, "rnnzoo compose")
    chords = Composer(task, temperature, seed, tries).compose(count, **lines)
    for path in outs:
        if _SUFFIXES[path.suffix.lower()] == "MIDI":
            write_midi(path, chords, tempo)
        else:
            write_wav(path, synthesize(chords, tempo))
    return chords, harmony_figures([chords])


def read_notes(text: str, name: str) -> list[int]:
    """MIDI numbers of notes: "67 69 C5 B4", separated by spaces or commas, or those of a .mid file.

    Args:
        text: the notes, or the path of the file.
        name: melody (the highest note of the file at each quarter note) or bass (the lowest).

    Raises:
        DataError: a word is no note, or the file is no MIDI file.
        OSError: the file cannot be read.
    """
    if text.lower().endswith((".mid", ".midi")):
        return read_line(Path(text), name == "melody")
    return [_note(word, name) for word in text.replace(",", " ").split()]


def _note(word: str, name: str) -> int:
    if word.isdecimal() and len(word) < 4:
        return int(word)
    found = _NAME.fullmatch(word)
    if found is None:
        raise DataError(f"--{name}: {word!r} is no note; expected MIDI numbers or names such as C4, F#4 and Bb3")
    letter, sign, octave = found.groups()
    return _SEMITONES[letter.upper()] + {"#": 1, "b": -1, "": 0}[sign] + 12 * (int(octave) + 1)
