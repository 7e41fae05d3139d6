"""The tasks: one folder each, with the configuration, the model, and its training and evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnzoo.util.lazy import attributes

if TYPE_CHECKING:
    from rnnzoo.tasks.base import Task
    from rnnzoo.tasks.recurrent import register_cell

__all__ = ["Task", "register_cell"]
__getattr__ = attributes(__name__, {"Task": "base", "register_cell": "recurrent"})
