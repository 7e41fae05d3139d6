"""Keywords in a signal that never ends."""
