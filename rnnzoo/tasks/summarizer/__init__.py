"""The sentence of a text that says what all of it says."""
