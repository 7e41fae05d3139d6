"""Inputs of a verification: random numbers in the domain of the model, and sequences that could show a difference.

A kind says how a sequence differs from plain numbers: rows and ids that are masked at random, throughout, in the first
half or in the last half; values ten times as large. Numbers come from the first domain in which the model is finite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from streaming._compat import layers_of
from streaming.conversion.graph import holds_ids

if TYPE_CHECKING:
    from streaming.conversion.plan import Plan
    from streaming.conversion.signals import Signal

Sample = Callable[[np.random.Generator, tuple[int, ...]], NDArray[Any]]

DOMAINS: dict[str, Sample] = {
    "normal": lambda generator, shape: generator.standard_normal(shape),
    "positive": lambda generator, shape: np.abs(generator.standard_normal(shape)) + 1e-3,
    "between 0 and 1": lambda generator, shape: generator.uniform(0.05, 0.95, shape),
}
KINDS = ("plain", "sparse", "hidden", "begins hidden", "ends hidden", "large")
LARGE = 10.0


class Trials:
    """Draws sequences for a plan, (T, *shape) by input name, (*shape) for static inputs.

    domain: the name of the numbers that the model is finite on, as found so far.
    """

    def __init__(self, plan: Plan, seed: int = 0) -> None:
        self._plan, self._generator = plan, np.random.default_rng(seed)
        self.domain = next(iter(DOMAINS))
        every = layers_of(plan.model)
        masks = {float(layer.mask_value) for layer in every if isinstance(layer, keras.layers.Masking)}
        self._hidden = sorted({0.0, *masks})
        # Ids that reach a table through other layers must not lie outside it either.
        sizes = [layer.input_dim for layer in every if isinstance(layer, keras.layers.Embedding)]
        self._table = min([100, *sizes])
        pairs = zip(plan.names, plan.model.inputs, strict=True)
        self._ids = {name for name, tensor in pairs if holds_ids(plan.model, tensor)}

    def draw(self, steps: int, kind: str = "plain", source: int | None = None) -> dict[str, NDArray[Any]]:
        """One sequence; source: positions of inputs that are given whole, None for any number of them."""
        sequence = {}
        for name, signal in (self._plan.inputs | self._plan.encoded).items():
            shape = tuple(size or 1 for size in signal.shape)
            if signal.timeline:
                shape = (steps, *shape)
            elif signal.spread:
                most = shape[0]
                shape = (min(most, source or int(self._generator.integers(1, most + 1))), *shape[1:])
            along = bool(signal.timeline) or signal.spread
            sequence[name] = self._values(name, signal, shape, kind if along else "plain")
        return sequence

    def _values(self, name: str, signal: Signal, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
        high = 2 if signal.dtype == "bool" else self._plan.id_limits.get(name, self._table)
        numbers = signal.dtype == "float32" and name not in self._plan.id_limits and name not in self._ids
        if numbers:
            values: NDArray[Any] = DOMAINS[self.domain](self._generator, shape) * (LARGE if kind == "large" else 1.0)
        else:
            values = self._generator.integers(0, high, shape)
            if kind == "large":
                values = np.where(self._generator.random(shape) < 0.5, values, high - 1)
        if (hidden := self._rows(shape[0] if shape else 0, kind)) is not None:
            marks = self._generator.choice(self._hidden if numbers else [0], (shape[0], *[1] * (len(shape) - 1)))
            values = np.where(hidden.reshape(marks.shape), marks, values)
            if kind == "sparse":
                values = np.where(self._generator.random(shape) < 0.1, marks, values)
        return np.asarray(values).astype(signal.dtype)

    def _rows(self, steps: int, kind: str) -> NDArray[Any] | None:
        """Which rows are hidden, None for none."""
        places = np.arange(steps)
        return {
            "sparse": self._generator.random(steps) < 0.35,
            "hidden": np.ones(steps, bool),
            "begins hidden": places < (steps + 1) // 2,
            "ends hidden": places >= steps // 2,
        }.get(kind)


def nudged(inputs: dict[str, NDArray[Any]], generator: np.random.Generator) -> dict[str, NDArray[Any]]:
    """The same numbers with changed last bits: if the model then gives another result, it cannot be compared."""
    changed: dict[str, Any] = {}
    for name, value in inputs.items():
        noise = 3e-7 * generator.choice([-1.0, 1.0], value.shape)
        changed[name] = (value * (1.0 + noise)).astype(value.dtype) if value.dtype == np.float32 else value
    return changed
