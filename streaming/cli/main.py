"""Entry point of `streaming`."""

from __future__ import annotations

from streaming.cli.entry import Program
from streaming.cli.parser import UsageError, parse
from streaming.errors import StreamingError

PROGRAM = Program("streaming", parse, (UsageError, StreamingError), ("keras", "tensorflow", "matplotlib"))
main = PROGRAM.main
