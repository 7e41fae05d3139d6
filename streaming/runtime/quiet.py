"""Hides the messages of native libraries about their build and devices."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(wanted: bool = True) -> Iterator[None]:
    """Context that drops standard error of the process, C++ included; failures are raised as exceptions."""
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
