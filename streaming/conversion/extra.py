"""Checks of the arguments before anything is planned: the model, the path, the metadata."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from streaming.errors import InputError
from streaming.runtime.tasks.schema import TaskSpec

# Packages whose models are those of Keras 2.
_KERAS2 = ("tf_keras", "keras.engine", "keras.src.engine", "tensorflow.python.keras")


def check_origin(model: Any) -> None:
    """Raises InputError with a remedy for a path, and for a model of Keras 2 in memory."""
    if isinstance(model, str | os.PathLike):
        raise InputError(
            f"the model is the path {os.fspath(model)!r}; load it first, or run `streaming convert MODEL OUT.tflite`"
        )
    for kind in type(model).__mro__:
        if any(f"{kind.__module__}.".startswith(f"{package}.") for package in _KERAS2):
            raise InputError(
                "the model is one of Keras 2 (tf_keras), this is Keras 3; write it with model.save('model.h5') and run "
                "`streaming convert model.h5 OUT.tflite`"
            )


def check_extra(metadata: Any) -> None:
    """Raises InputError unless metadata are a dict of a task, files and a source, or None."""
    if not isinstance(metadata, Mapping | None):
        raise InputError(f"metadata is {metadata!r}, expected a dict with task, files and source")
    if not isinstance((metadata or {}).get("task"), Mapping | TaskSpec | None):
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
