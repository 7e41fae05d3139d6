"""A small organ: chords to sound by sums of sines, and WAV files."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.errors import DataError
from rnnzoo.music.voices import Note, voices_of
from rnnzoo.util.files import replacing

RATE = 22050
# Loudness of the first harmonics, seconds in which a note begins and dies away, and the loudest sample.
_HARMONICS = (1.0, 0.5, 0.3, 0.15, 0.1, 0.05)
_ATTACK, _RELEASE, _LOUDEST = 0.03, 0.12, 0.8
_A4, _CONCERT = 69, 440.0


def synthesize(chords: Sequence[Sequence[int]], tempo: float) -> NDArray[Any]:
    """The sound of chords: samples (n,) of float32 between -0.8 and 0.8, `RATE` a second.

    Args:
        chords: MIDI numbers, a chord a quarter note, the highest first.
        tempo: quarter notes a minute.
    """
    quarter = 60 / tempo
    sound = np.zeros(round((len(chords) * quarter + _RELEASE) * RATE) + 1)
    for voice in voices_of(chords):
        for note in voice:
            tone = _tone(note, quarter)
            begin = round(note.begin * quarter * RATE)
            sound[begin : begin + len(tone)] += tone[: len(sound) - begin]
    peak = float(np.abs(sound).max(initial=0.0))
    return (sound * (_LOUDEST / peak if peak else 1.0)).astype(np.float32)


def write_wav(path: Path, samples: NDArray[Any]) -> None:
    """Write samples between -1 and 1 as 16-bit mono; raises DataError where that fails."""
    data = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    try:
        with replacing(path) as part, part.open("wb") as raw, wave.open(raw, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(data)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror}): choose another folder, or make room") from error


def _tone(note: Note, quarter: float) -> NDArray[Any]:
    seconds = note.length * quarter
    time = np.arange(round((seconds + _RELEASE) * RATE)) / RATE
    pitch = _CONCERT * 2 ** ((note.pitch - _A4) / 12)
    wave_form = np.zeros(len(time))
    for number, loudness in enumerate(_HARMONICS, 1):
        # What lies above half the rate would sound as another pitch.
        if number * pitch < RATE / 2:
            wave_form += loudness * np.sin(2 * np.pi * number * pitch * time)
    envelope = np.minimum(time / _ATTACK, 1) * np.clip((seconds + _RELEASE - time) / _RELEASE, 0, 1)
    return np.asarray(wave_form * envelope)
