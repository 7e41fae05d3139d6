"""Initializes a model with the weights of a trained run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.errors import ConfigError
from rnnzoo.runs.store import TABLES, WEIGHTS_FILE, check_run, read_files

if TYPE_CHECKING:
    import keras

# Layers whose rows or columns are labels, and the file that lists them.
_LABELLED, _LABELS = ("logits", "crf"), "labels.txt"
# Rows of a table before those of a plain list of entries: padding and unknown.
_SPECIAL = ("", " ")


def start_from(model: keras.Model, encoder: Any, source: Path) -> int:
    """Give a model the weights of a run wherever both have them.

    Weights of the same path and shape are copied; of an embedding the rows of the entries that both vocabularies know;
    weights of labels only if the labels are the same.

    Args:
        model: of any topology, with fresh weights.
        encoder: its vocabularies.
        source: folder of the run.

    Returns:
        How many numbers were copied.

    Raises:
        ConfigError: the folder is no run, or nothing of it fits.
        DataError: its weights are damaged.
    """
    from rnnzoo.training.checkpoint import load_arrays

    check_run(source)
    theirs, own, files = load_arrays(source / WEIGHTS_FILE), encoder.to_files(), read_files(source)
    copied, other_labels = 0, own.get(_LABELS) != files.get(_LABELS)
    for variable in model.weights:
        layer, array = variable.path.split("/")[0], theirs.get(variable.path)
        # Whole numbers are counters and seeds.
        if array is None or array.dtype.kind != "f" or (layer in _LABELLED and other_labels):
            continue
        if (table := TABLES.get(layer)) and table in own and table in files:
            copied += _copy_rows(variable, array, _entries(own, table), _entries(files, table))
        elif array.shape == tuple(variable.shape):
            variable.assign(array)
            copied += array.size
    if not copied:
        raise ConfigError(f"expected a run with layers of this model's names and sizes; {source} has none that fit")
    return copied


def _copy_rows(variable: Any, array: NDArray[Any], own: list[str], theirs: list[str]) -> int:
    if array.shape[1:] != tuple(variable.shape[1:]):
        return 0
    rows = {entry: i for i, entry in enumerate(theirs)}
    pairs = np.array([(i, rows[entry]) for i, entry in enumerate(own) if entry in rows])
    table = np.asarray(variable).copy()
    table[pairs[:, 0]] = array[pairs[:, 1]]
    variable.assign(table)
    return len(pairs) * table[0].size


def _entries(files: Mapping[str, bytes], name: str) -> list[str]:
    text = files[name].decode()
    if name.endswith(".json"):
        return list(json.loads(text)["entries"])
    return [*_SPECIAL, *text.splitlines()]
