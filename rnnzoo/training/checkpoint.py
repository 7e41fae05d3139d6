"""Weights as safetensors files, written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from rnnzoo.errors import DataError
from rnnzoo.util.files import replacing


def write_weights(model: keras.Model, path: Path, dtype: str = "float32") -> None:
    """Write the weights by the paths of their variables, to a temporary file that is then renamed.

    Args:
        model: a built model.
        path: of the file; its folder is made if missing.
        dtype: floating-point weights are stored as this, `float32` or `float16`.
    """
    arrays = {}
    for variable in model.weights:
        value = np.asarray(variable.numpy())
        arrays[variable.path] = value.astype(dtype) if value.dtype == np.float32 else value
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(save(arrays))


def round_weights(model: keras.Model, dtype: str) -> None:
    """Give the floating-point weights the values that they have after being stored as `dtype`."""
    for variable in model.weights:
        value = np.asarray(variable.numpy())
        if value.dtype == np.float32:
            variable.assign(value.astype(dtype).astype(np.float32))


def read_weights(model: keras.Model, path: Path) -> None:
    """Set the weights of a model of the same architecture.

    Raises:
        DataError: the file is missing, damaged, or belongs to another architecture.
    """
    arrays = load_arrays(path)
    for variable in model.weights:
        array = arrays.pop(variable.path, None)
        if array is None or array.shape != tuple(variable.shape):
            shape = "missing" if array is None else array.shape
            expected = f"{variable.path} with shape {tuple(variable.shape)}"
            raise DataError(f"{path} belongs to another architecture: expected {expected}, found {shape}")
        variable.assign(array.astype(variable.dtype))
    if arrays:
        surplus = ", ".join(sorted(arrays)[:3])
        raise DataError(f"{path} belongs to another architecture: it also holds {surplus}")


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Stored weights by the paths of their variables; raises DataError where the file is missing or damaged."""
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} is no file of weights ({error}). Train or download anew") from error
