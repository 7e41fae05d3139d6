"""The command line: `rnnzoo train | evaluate | export | demo | list | info`."""

from rnnzoo.cli.main import main

__all__ = ["main"]
