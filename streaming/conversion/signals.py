"""What the planner knows of a tensor: its shape, its place in time, and whether a Keras mask goes with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any


@dataclass(frozen=True)
class Timeline:
    """The positions of a tensor, laid over the steps of the stream.

    At `rate` 1, position s of the stream holds an element where start <= s < T + end, T being the length of the
    input: a causal layer keeps (0, 0), a layer that looks d steps ahead makes (d, d), a convolution without padding
    over k steps makes (k - 1, 0).
    """

    start: int = 0
    end: int = 0
    rate: Fraction = Fraction(1)

    def delayed(self, steps: int) -> Timeline:
        """The same elements, `steps` later."""
        return Timeline(self.start + steps, self.end + steps, self.rate)


@dataclass(frozen=True, eq=False)
class Signal:
    """A tensor of the model, as the planner sees it. Compared by identity: one signal, one tensor.

    shape: offline shape without batch and time; timeline: None for a static input, given whole at every step;
    running: the offline tensor has no time axis and the stream holds its value after each step;
    masked: a Keras mask (B, T) goes along; quiet: zero wherever the position does not exist;
    origin: the input of the model that this is, unchanged.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    timeline: Timeline | None
    running: bool = False
    masked: bool = False
    quiet: bool = False
    origin: str | None = None

    @property
    def sequence(self) -> bool:
        """The offline tensor is (B, T, *shape)."""
        return self.timeline is not None and not self.running

    @property
    def offline_shape(self) -> tuple[int | None, ...]:
        """(B, T, *shape) or (B, *shape), unknown sizes as None."""
        return (None, None, *self.shape) if self.sequence else (None, *self.shape)


@dataclass(frozen=True)
class StateSpec:
    """One state of one layer: what a stream carries from step to step. `initial` is a number or an array."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    initial: Any = field(default=0.0, compare=False)
