"""Entry point of `rnnzoo`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from rnnzoo.cli.parser import parse
from rnnzoo.errors import ConfigError, RnnzooError
from rnnzoo.util.quiet import quiet_tensorflow
from streaming.cli.entry import Program
from streaming.errors import StreamingError

_TRAIN = ("keras", "tensorflow", "tensorflow_datasets", "safetensors", "yaml", "rich")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    arguments = parse(argv)
    for module in getattr(arguments, "modules", []):
        _import(module)
    return arguments


def _import(name: str) -> None:
    """Run a user's file, which registers what configurations name."""
    path = Path(name)
    if path.suffix != ".py" or not path.is_file():
        raise ConfigError(f"--import {name}: expected a Python file, FILE.py, that registers a cell or a data set")
    # A file called as a module that others import must not take its place.
    spec = importlib.util.spec_from_file_location(f"imported_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)


_PROGRAM = Program("rnnzoo", _parse, (RnnzooError, StreamingError), _TRAIN)
explain = _PROGRAM.explain


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    quiet_tensorflow()
    return _PROGRAM.main(argv)
