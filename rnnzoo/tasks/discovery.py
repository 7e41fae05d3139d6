"""The tasks of the zoo, found by their folders.

A folder NAME of `rnnzoo.tasks` is a task, and NAME is what `topology:` says in a configuration. It holds

    config.py   `DATA`: the class of the section `data` for each value of `data.input`, the default first;
                `MODEL`: the class of the section `model`
    model.py    `build_NAME(config, encoder)`, which gives the Keras model
    task.py     the subclass of `rnnzoo.tasks.base.Task` that is called as the folder, such as `KeywordSpotterTask`

Modules are imported when they are asked for: reading a configuration needs no Keras.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnzoo.data.config import DataConfig
    from rnnzoo.tasks.base import Task

# Names in configurations, runs and bundles of earlier versions.
_OLD_NAMES = {"event_tagger": "sequence_tagger", "language_model": "generator"}


@functools.cache
def task_names() -> tuple[str, ...]:
    """The names that `topology:` may have, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.ispkg))


def current_name(name: Any) -> Any:
    """The current name of a task that an earlier version called otherwise."""
    return _OLD_NAMES.get(name, name) if isinstance(name, str) else name


def data_inputs(name: str) -> tuple[str, ...]:
    """Values of `data.input` that a task takes, the default first."""
    return tuple(_part(name, "config").DATA)


def data_config(name: str, kind: str) -> type[DataConfig]:
    """The class of the `data` section of a task, by the value of `data.input`."""
    section: type[DataConfig] = _part(name, "config").DATA[kind]
    return section


def model_config(name: str) -> type:
    """The class of the `model` section of a task."""
    section: type = _part(name, "config").MODEL
    return section


def model_builder(name: str) -> Callable[..., Any]:
    """The function (config, encoder) -> keras.Model of a task; importing it imports Keras."""
    builder: Callable[..., Any] = getattr(_part(name, "model"), f"build_{name}")
    return builder


def task_class(name: str) -> type[Task]:
    """Class that trains, evaluates and exports a task."""
    camel = "".join(part.capitalize() for part in name.split("_"))
    task_type: type[Task] = getattr(_part(name, "task"), f"{camel}Task")
    return task_type


def _part(name: str, part: str) -> Any:
    return importlib.import_module(f"rnnzoo.tasks.{name}.{part}")
