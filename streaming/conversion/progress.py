"""Progress of a conversion on a terminal: one line with the stage, and in the proof the steps that were compared."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TextIO

# Returns to the begin of the line and clears it.
_CLEAR = "\r\x1b[K"


class Progress:
    """One line on standard error, which is cleared at the end; nothing where that is no terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._shown = self._stream is not None and self._stream.isatty()

    def stage(self, text: str) -> None:
        """Show what is being done now."""
        if self._shown:
            self._stream.write(f"{_CLEAR}{text}")
            self._stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stage("")
