"""Every layer of rnnzoo.layers with the way to make it and its equations: what test_layer_cases.py examines.

A module of this package holds `CASES: dict[str, Case]`; the first case of a class is examined for every property,
unless it says otherwise; cases of its options name the few that they could break, for the sake of time.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A layer's factory, its oracle as `rnnzoo.layers.check` takes it, and what else to tell `check`.

    properties: those to examine, None for all; settings: other arguments of `check`; proves: classes that are examined
    as the main part of this one.
    """

    make: Callable[[], Any]
    oracle: Callable[..., Any] | None = None
    properties: Iterable[str] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    proves: tuple[type, ...] = ()


# What an option of a cell can break: its equation, its derivative, and the stream.
OPTION = ("shape", "oracle", "gradient", "config")


def all_cases() -> dict[str, Case]:
    """The cases of all modules of this package."""
    found: dict[str, Case] = {}
    for item in pkgutil.iter_modules(__path__):
        for name, case in importlib.import_module(f"{__name__}.{item.name}").CASES.items():
            if name in found:
                raise ValueError(f"two cases are named {name!r}")
            found[name] = case
    return found
