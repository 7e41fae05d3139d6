"""Description of a streaming file as plain data; needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from streaming.runtime import agreement, artifact, costs
from streaming.runtime.metadata import Metadata


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns inputs, outputs, states, plan, origin and costs of a model, ready for `json.dumps`.

    The multiply-adds, bytes of constants and operations of signatures are counted in the flatbuffer itself; everything
    else is from `streaming.json`.

    Raises:
        ArtifactError: the file is missing, damaged or no streaming model.
    """
    content = artifact.read(path)
    meta = content.metadata
    agreement.check_metadata(meta)
    cost = costs.count_costs(content.flatbuffer)
    signatures = {}
    for name in sorted(cost.signatures, key=lambda name: _order(name, meta)):
        counted, info = cost.signatures[name], meta.signatures.get(name)
        sizes = {"batch": info.batch, "chunk": info.chunk} if info else {}
        signatures[name] = {**sizes, **dataclasses.asdict(counted)}
    said = meta.to_json()
    for name in ("flatbuffer_bytes", "packs", "slots", "valid", "lead"):
        del said[name]
    return {
        **said,
        "file": os.fspath(path),
        "size_bytes": os.path.getsize(path),
        "state_bytes": meta.state_bytes,
        "weight_bytes": cost.weight_bytes,
        "signatures": signatures,
        "states": [
            {"name": slot.name, "shape": list(slot.shape), "dtype": slot.dtype, "bytes": _bytes(slot.shape, slot.dtype)}
            for slot in meta.slots
        ],
        "files": {name: len(content.files[name]) for name in sorted(content.files)},
    }


def _order(name: str, meta: Metadata) -> tuple[bool, int, int]:
    """Steps first, by their size."""
    info = meta.signatures.get(name)
    return name in agreement.OTHER, info.chunk if info else 0, info.batch if info else 0


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize
