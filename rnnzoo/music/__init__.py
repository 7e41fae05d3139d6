"""Chords as files: MIDI by `mido`, sound by NumPy."""
