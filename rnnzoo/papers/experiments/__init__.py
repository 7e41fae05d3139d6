"""One module for each paper: `Budget`, `run` and `draw`; its name is that of the paper with underscores."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Say = Callable[[str], None]


@dataclass(frozen=True)
class Findings:
    """What an experiment measured.

    Args:
        figures: name -> figure; None where it could not be measured.
        series: numbers and texts for the picture, as JSON has them.
    """

    figures: Mapping[str, float | None]
    series: Mapping[str, Any] = field(default_factory=dict)


class Experiment(Protocol):
    """The contents of a module."""

    # The dataclass of the sections `tiny` and `full`.
    Budget: type

    def run(self, budget: Any, seeds: tuple[int, ...], say: Say) -> Findings:
        """Train and measure; `say` is given a line on each network."""
        ...

    def draw(self, findings: Findings, path: Path) -> None:
        """Write the picture, a PNG file."""
        ...


def find_experiment(name: str) -> Experiment:
    """The module of a paper."""
    module: Any = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return module


def budget_class(name: str) -> type:
    """The class of the budgets of a paper."""
    return find_experiment(name).Budget
