"""Errors of Keras and TensorFlow as part of a line of ours."""

from __future__ import annotations

import re


def described(error: BaseException) -> str:
    """Kind and first line of an error, without the text that Keras adds."""
    said = re.search("\x1b\\[1m(.*?)\x1b\\[0m", str(error), re.DOTALL)
    lines = (said[1] if said else str(error)).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
