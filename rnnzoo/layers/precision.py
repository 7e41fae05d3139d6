"""Computations for which half precision is too narrow."""

from __future__ import annotations

from typing import Any

from keras import backend, ops


def widened(x: Any) -> Any:
    """At least float32: sums of exponentials and of energies overflow or vanish in less."""
    return ops.cast(x, backend.result_type(x.dtype, "float32"))
