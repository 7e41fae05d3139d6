"""A label for every frame of a signal, from which events are read."""
