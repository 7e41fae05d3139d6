"""Polyphonic music: the probability of each note at the next step."""
