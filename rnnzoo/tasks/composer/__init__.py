"""Chorales note by note: each given the chords before it and the notes of its own chord."""
