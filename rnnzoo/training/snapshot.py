"""The state of an unfinished training in one file, from which it resumes to the same weights."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rnnzoo.errors import DataError
from rnnzoo.util.files import replacing

_KEPT = 2
_PATTERN = "snapshot-*.safetensors"


class Snapshot(NamedTuple):
    """State from which a training resumes.

    Args:
        arrays: variables of model, optimizer and metrics, and the best weights so far, by name.
        progress: what JSON can hold: position, history, record, the experiment.
    """

    arrays: dict[str, NDArray[Any]]
    progress: dict[str, Any]


def write_snapshot(folder: Path, snapshot: Snapshot) -> Path:
    """Write a snapshot as the newest of a folder; the one before it is kept, older ones go.

    If the process dies at any moment, the newest snapshot is complete: the file gets its name when it is on the disk.

    Raises:
        DataError: the folder cannot be written; the snapshots that are there stay.
    """
    there = _files(folder)
    number = int(there[-1].stem.partition("-")[2]) + 1 if there else 1
    path = folder / f"snapshot-{number:08d}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*.tmp"):
            left.unlink()
        with replacing(path) as part:
            part.write_bytes(save(snapshot.arrays, {"progress": json.dumps(snapshot.progress)}))
        for old in there[: max(0, len(there) - _KEPT + 1)]:
            old.unlink()
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "make room and give the same command to go on from the one before" if full else "choose another folder"
        raise DataError(f"cannot write {path} ({error.strerror}): {remedy}") from error
    return path


def read_snapshot(folder: Path) -> Snapshot | None:
    """The newest whole snapshot of a folder; None where there is none."""
    for path in reversed(_files(folder)):
        try:
            with safe_open(path, "numpy") as stored:
                progress = json.loads((stored.metadata() or {})["progress"])
                return Snapshot({name: stored.get_tensor(name) for name in stored.keys()}, progress)  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError):
            continue
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(_PATTERN))
