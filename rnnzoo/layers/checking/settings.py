"""Settings of the properties, and the exception of one that does not apply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """Arguments of `check` that the properties need."""

    oracle: Callable[..., Any] | None
    streams: bool
    tolerance: float
    seed: int


class Skipped(Exception):
    """A property does not apply to the layer, or cannot be examined here; says why."""
