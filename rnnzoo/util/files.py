"""Atomic writes of files and folders."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rnnzoo.errors import DataError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; the file replaces `path` at the end, when it is on the disk.

    After an error nothing is left of it, and `path` is as it was.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        yield part
        sync(part)
        os.replace(part, path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; raises as `write_text`."""
    write_text(path, json_bytes(values).decode())


def write_text(path: Path, text: str) -> None:
    """Write a file atomically.

    Raises:
        DataError: it cannot be written.
    """
    try:
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror}): choose another folder, or make room") from error


def publish(part: Path, path: Path) -> None:
    """Move a finished folder to its place; it is on the disk before it gets its name.

    Not every system can swap two folders atomically: for a moment the place may be empty.
    """
    sync_folder(part)
    old = part.with_suffix(".old")
    if path.exists():
        os.rename(path, old)
    try:
        os.rename(part, path)
    except BaseException:
        if old.exists():
            os.rename(old, path)
        raise
    sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def sync_folder(path: Path) -> None:
    """Flush a folder and its files to the disk, readable by everybody."""
    os.chmod(path, 0o755)
    for item in [*path.iterdir(), path]:
        sync(item)


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def json_bytes(values: Mapping[str, Any]) -> bytes:
    """JSON as it is stored: indented, NaN as null."""
    return (json.dumps(_finite(values), indent=2, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    """JSON has no NaN: the mean over nothing becomes null."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
