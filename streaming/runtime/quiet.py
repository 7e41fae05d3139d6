"""Keeps what native libraries note on their build and devices off the screen."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(wanted: bool = True) -> Iterator[None]:
    """Drop what is written to standard error of the process, C++ included; exceptions say what there is to say."""
    if not wanted:
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
