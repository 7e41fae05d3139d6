"""Checks of what a user gives besides a model: where to write, and what to store in the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from streaming.errors import InputError


def check_extra(metadata: Any) -> None:
    """Raises InputError unless metadata are a dict of a task, files and a source, or None."""
    if not isinstance(metadata, Mapping | None):
        raise InputError(f"metadata is {metadata!r}, expected a dict with task, files and source")
    if not isinstance((metadata or {}).get("task"), Mapping | None):
        raise InputError(
            f"metadata has the task {(metadata or {})['task']!r}, expected a dict with its kind and options"
        )
    unknown = sorted(set(metadata or {}) - {"task", "files", "source"})
    if unknown:
        raise InputError(f"metadata has an unknown key {unknown[0]!r}, expected task, files and source")


def check_path(path: Any) -> None:
    """Raises InputError unless a file can be written at a path."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path) or "\0" in os.fspath(path):
        raise InputError(f"path is {path!r}, expected the path of the .tflite file to write")
    if os.path.isdir(path):
        raise InputError(f"cannot write {path}: it is a folder; give the path of the .tflite file in it")
    folder = os.path.dirname(os.path.abspath(os.fspath(path)))
    if not os.path.isdir(folder):
        raise InputError(f"cannot write {path}: the folder {folder} does not exist; create it first")
