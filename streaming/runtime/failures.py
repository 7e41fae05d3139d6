"""Errors of the interpreter as errors of this package."""

from __future__ import annotations

from streaming.errors import StreamingError


def interpreter_failed(error: Exception) -> StreamingError:
    """The error of a run that the interpreter did not finish."""
    return StreamingError(
        f"the interpreter failed: {first_line(error)}; the stream has not moved, check the input's values"
    )


def first_line(error: BaseException) -> str:
    """The first line of an error that says anything, or its type; 200 characters at most."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:200]
