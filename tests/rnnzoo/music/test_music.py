"""Chords as voices, MIDI files and sound: pitches by a spectrum, files read back, damaged ones refused."""

import wave

import numpy as np
import pytest

from rnnzoo.errors import DataError
from rnnzoo.music.midi import read_line, write_midi
from rnnzoo.music.synthesis import RATE, synthesize, write_wav
from rnnzoo.music.voices import Note, voices_of

mido = pytest.importorskip("mido")
CHORDS = [(72, 67, 64, 48), (72, 69, 65, 53), (71, 67, 62, 55), (72, 64, 48), ()]


def test_voices_hold_notes_and_share_them():
    soprano, alto, tenor, bass = voices_of(CHORDS)
    assert soprano == [Note(72, 0, 2), Note(71, 2, 1), Note(72, 3, 1)]
    assert alto == [Note(67, 0, 1), Note(69, 1, 1), Note(67, 2, 1), Note(64, 3, 1)]
    assert tenor == [Note(64, 0, 1), Note(65, 1, 1), Note(62, 2, 1), Note(64, 3, 1)]
    assert bass == [Note(48, 0, 1), Note(53, 1, 1), Note(55, 2, 1), Note(48, 3, 1)]
    assert voices_of([(60,)]) == [[Note(60, 0, 1)]] * 4
    assert voices_of([(60, 50)])[1][0].pitch in (60, 50)
    assert voices_of([()]) == [[]] * 4


def test_a_midi_file_has_the_notes_at_their_times(tmp_path):
    path = tmp_path / "a.mid"
    write_midi(path, CHORDS, 120.0)
    song = mido.MidiFile(path)
    # Four quarter notes at 120 a minute.
    assert song.length == pytest.approx(2.0)
    assert [track.name for track in song.tracks] == ["Soprano", "Alto", "Tenor", "Bass"]
    now, found = 0.0, []
    for message in song:
        now += message.time
        if message.type == "note_on" and message.velocity:
            found.append((round(now / 0.5), message.note))
    expected = [(note.begin, note.pitch) for voice in voices_of(CHORDS) for note in voice]
    assert sorted(found) == sorted(expected)


def test_lines_are_read_from_a_midi_file(tmp_path):
    path = tmp_path / "a.mid"
    write_midi(path, CHORDS[:4], 90.0)
    assert read_line(path, highest=True) == [72, 72, 71, 72]
    assert read_line(path, highest=False) == [48, 53, 55, 48]


@pytest.mark.parametrize(
    "content", [b"", b"MThd", b"RIFF....WAVE", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\4\0\xff\x2f\0"]
)
def test_what_is_no_melody_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "b.mid"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is no MIDI file|has no note") as error:
        read_line(path, highest=True)
    assert "\n" not in str(error.value)


def test_a_chord_sounds_at_its_pitches():
    sound = synthesize([(69, 57)] * 4, 60.0)
    assert np.abs(sound).max() == pytest.approx(0.8, abs=1e-3)
    second = sound[RATE : 2 * RATE]
    spectrum = np.abs(np.fft.rfft(second * np.hanning(len(second))))
    loudest = set(np.argsort(spectrum)[-12:].tolist())
    # A4 is 440 Hz, A3 half of it; a second has one bin a hertz.
    assert {220, 440} <= loudest
    assert spectrum[440] > 50 * spectrum[466]
    assert len(synthesize([], 60.0)) > 0


def test_a_wav_file_is_read_back(tmp_path):
    path, samples = tmp_path / "a.wav", synthesize([(60, 52)], 120.0)
    write_wav(path, samples)
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        read = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
    np.testing.assert_allclose(read, samples, atol=1e-4)
    for write in (lambda p: write_wav(p, samples), lambda p: write_midi(p, CHORDS, 72.0)):
        with pytest.raises(DataError, match="cannot write"):
            write(tmp_path / "none" / "a.wav")
