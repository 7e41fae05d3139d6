"""Speech recognition in a signal that never ends."""
