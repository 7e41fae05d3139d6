"""Entry point of `rnnzoo`."""

from __future__ import annotations

from collections.abc import Sequence

from rnnzoo.cli.parser import parse
from rnnzoo.errors import RnnzooError
from rnnzoo.quiet import quiet_tensorflow
from streaming.cli.entry import Program
from streaming.errors import StreamingError

_TRAIN = ("keras", "tensorflow", "tensorflow_datasets", "safetensors", "yaml", "rich")
_PROGRAM = Program("rnnzoo", parse, (RnnzooError, StreamingError), _TRAIN)
explain = _PROGRAM.explain


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    quiet_tensorflow()
    return _PROGRAM.main(argv)
