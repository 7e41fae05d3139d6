"""The command line: `rnnzoo train | evaluate | export | bundle | download | demo | list | info` and more."""

from rnnzoo.cli.main import main

__all__ = ["main"]
