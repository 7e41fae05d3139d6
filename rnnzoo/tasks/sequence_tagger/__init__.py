"""A label for every frame of a signal, and so events in it."""
