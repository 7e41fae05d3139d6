"""One module for each paper, or for several that share their trainings: `Budget`, `run` and `draw`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rnnzoo.errors import ConfigError
from rnnzoo.util.suggest import suggest

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


def find_experiment(name: Any, where: str) -> Experiment:
    """The module of this name; `where` is the origin of the name in errors.

    Raises:
        ConfigError: there is none; the nearest is named.
    """
    known = [module.name for module in pkgutil.iter_modules(__path__)]
    if name not in known:
        raise ConfigError(f"{where}: experiment {name!r} is not known; {suggest(str(name), known)}")
    module: Any = importlib.import_module(f"{__name__}.{name}")
    return module
