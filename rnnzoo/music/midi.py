"""MIDI files of chords: written and read by mido."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnnzoo.errors import DataError
from rnnzoo.music.voices import voices_of
from rnnzoo.util.files import replacing

_TICKS = 480
_NAMES = ("Soprano", "Alto", "Tenor", "Bass")
# General MIDI: choir aahs.
_CHOIR, _VELOCITY = 52, 80
# A file longer than this is no melody.
_MAX_QUARTERS = 10_000


def write_midi(path: Path, chords: Sequence[Sequence[int]], tempo: float) -> None:
    """Write chords as a MIDI file with a track for each voice.

    Args:
        path: to write.
        chords: MIDI numbers, a chord a quarter note, the highest first.
        tempo: quarter notes a minute.

    Raises:
        DataError: mido is not installed, or the file cannot be written.
    """
    mido = _mido()
    song = mido.MidiFile(ticks_per_beat=_TICKS)
    for channel, (name, notes) in enumerate(zip(_NAMES, voices_of(chords), strict=True)):
        track = song.add_track(name)
        if not channel:
            track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)))
        track.append(mido.Message("program_change", channel=channel, program=_CHOIR))
        now = 0
        for note in notes:
            begin, end = note.begin * _TICKS, (note.begin + note.length) * _TICKS
            key = {"channel": channel, "note": note.pitch}
            track.append(mido.Message("note_on", time=begin - now, velocity=_VELOCITY, **key))
            track.append(mido.Message("note_off", time=end - begin, **key))
            now = end
    try:
        with replacing(path) as part:
            song.save(part)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror}): choose another folder, or make room") from error


def read_line(path: Path, highest: bool) -> list[int]:
    """The highest or the lowest note at each quarter note of a MIDI file; a rest is filled by the note before it.

    Raises:
        DataError: mido is not installed, or the file is no MIDI file, has no note or is too long.
        OSError: it cannot be read.
    """
    mido, data = _mido(), path.read_bytes()
    try:
        song = mido.MidiFile(file=io.BytesIO(data))
        spans = _spans(mido.merge_tracks(song.tracks))
    except (OSError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no MIDI file ({error or type(error).__name__}); give another") from error
    quarter = song.ticks_per_beat
    if not spans or not quarter > 0:
        raise DataError(f"{path} has no note; give another")
    first, last = min(begin for _, begin, _ in spans), max(end for *_, end in spans)
    count = max(1, round((last - first) / quarter))
    if count > _MAX_QUARTERS:
        raise DataError(f"{path} has {count} quarter notes; expected {_MAX_QUARTERS} at most")
    line: list[int] = []
    for step in range(count):
        # Where notes of a player are a little late, they sound by the middle of an eighth.
        at = first + (step + 0.25) * quarter
        sounding = [pitch for pitch, begin, end in spans if begin <= at < end]
        line.append((max if highest else min)(sounding) if sounding else line[-1] if line else spans[0][0])
    return line


def _spans(track: Any) -> list[tuple[int, int, int]]:
    """Pitch, begin and end in ticks of all notes but those of drums."""
    now, open_notes, spans = 0, dict[tuple[int, int], int](), []
    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == 9:
            continue
        key = message.channel, message.note
        if key in open_notes:
            spans.append((message.note, open_notes.pop(key), now))
        if message.type == "note_on" and message.velocity:
            open_notes[key] = now
    return [span for span in spans if span[2] > span[1]]


def _mido() -> Any:
    try:
        import mido
    except ImportError as error:
        raise DataError("MIDI files need mido, which is not installed: pip install 'rnnzoo[music]'") from error
    return mido
