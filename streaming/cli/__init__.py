"""The command line `streaming`: convert, inspect, run, bench."""

from streaming.cli.main import main

__all__ = ["main"]
