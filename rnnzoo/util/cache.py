"""The one folder of this user's cache: downloads, converted files of the demo, prepared data sets."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """RNNZOO_CACHE, else `rnnzoo` in XDG_CACHE_HOME, else `~/.cache/rnnzoo`."""
    if own := os.environ.get("RNNZOO_CACHE"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rnnzoo"
