"""Errors of the interpreter as errors of this package."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from streaming.errors import OutOfMemoryError, StreamingError

# LiteRT says nothing where it has no memory.
_SILENT = "it gives no reason, as where there is no memory"


@contextlib.contextmanager
def memory_for(what: str) -> Iterator[None]:
    """Turns MemoryError, which says nothing, into OutOfMemoryError."""
    try:
        yield
    except OutOfMemoryError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(
            f"there is no memory for {what}; close models and streams that are not needed"
        ) from error


def interpreter_failed(error: Exception) -> StreamingError:
    """The error of a run that the interpreter did not finish."""
    if isinstance(error, MemoryError):
        return OutOfMemoryError(
            "there is no memory for a step; the stream has not moved, close models and streams that are not needed"
        )
    return StreamingError(
        f"the interpreter failed: {first_line(error)}; the stream has not moved, check the input's values"
    )


def first_line(error: BaseException) -> str:
    """The first line of an error that says anything, or what its type says; 200 characters at most."""
    lines = (line.strip() for line in str(error).splitlines())
    otherwise = _SILENT if type(error) is RuntimeError else type(error).__name__
    return next((line for line in lines if line), otherwise)[:200]
