"""Ranges of the numbers of a configuration, annotated beside their types."""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple


class Range(NamedTuple):
    """From `least` on; below `below`, where there is an end."""

    least: float
    below: float = math.inf

    def holds(self, value: float) -> bool:
        """Whether a number lies in it."""
        return self.least <= value < self.below

    def __str__(self) -> str:
        end = "" if math.isinf(self.below) else f" and below {self.below:.10g}"
        return f"at least {self.least:g}{end}"


# A width, or how many there are of what there must be; how many of what may be left out; a share that is dropped; what
# something is multiplied by.
Size = Annotated[int, Range(1)]
Count = Annotated[int, Range(0)]
Rate = Annotated[float, Range(0, 1)]
Factor = Annotated[float, Range(0)]
# Where random numbers start, as NumPy takes it.
Seed = Annotated[int, Range(0, 2**32)]
