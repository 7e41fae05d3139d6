"""Saved runs: trained, stored, measured, exported and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnzoo.util.lazy import attributes

if TYPE_CHECKING:
    from rnnzoo.runs.export import export_run
    from rnnzoo.runs.store import Run, load_run, save_run

__all__ = ["Run", "export_run", "load_run", "save_run"]
__getattr__ = attributes(__name__, {"Run": "store", "export_run": "export", "load_run": "store", "save_run": "store"})
