"""Reads the files that `streaming convert` takes: a saved Keras model, and sequences to calibrate on."""

from __future__ import annotations

import importlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.conversion.budget import budget
from streaming.conversion.saved import SavedConfig, read_config
from streaming.errors import InputError, NotStreamableError
from streaming.runtime.memory import check_memory

_LAMBDAS = ("Lambda", "__lambda__")


def load_keras(path: Path, modules: Sequence[str] = ()) -> Any:
    """The model of a .keras or whole-model .h5 file of Keras 3 or 2; no code of the file is ever run.

    Args:
        path: the file.
        modules: names of Python modules to import first, which register the model's own layers with Keras.

    Raises:
        InputError: the file is missing or damaged, holds no whole model, or a module cannot be imported.
        NotStreamableError: the model has a Lambda, or a class that is neither Keras's nor registered.
    """
    saved = read_config(path)
    for name in modules:
        try:
            importlib.import_module(name)
        except (ImportError, ValueError) as error:
            raise InputError(f"cannot import {name!r} ({error}); give the name of an installed module") from error
    # A number takes a byte at least.
    with budget(saved.size, str(path)) as spent:
        try:
            return _load(path, saved)
        except InputError:
            if spent.problem is None:
                raise
            raise InputError(spent.problem) from None


def _load(path: Path, saved: SavedConfig) -> Any:
    import keras

    if saved.old:
        return _load_old(path, saved)
    for entry in _objects(saved.config):
        _check_known(entry, path, keras)
    try:
        known = None if saved.zipped else _recorded(saved.config)
        return keras.saving.load_model(path, custom_objects=known, compile=False, safe_mode=True)
    except Exception as error:  # what Keras raises for a damaged file depends on where the damage is
        # Each level of a nested model repeats the whole; the innermost says what is wrong.
        reason = " ".join(str(error).rpartition("Exception encountered: ")[2].split())[:200]
        again = "save the model again with model.save('name.keras')"
        if not saved.zipped:  # what Keras cannot read of a .h5 it often cannot write: the code of the model has to help
            again = f"build the model with its code, load_weights({str(path)!r}), and model.save('name.keras')"
        raise InputError(f"Keras cannot load {path}: {reason}; {again}") from error


class _Recorded:
    """Stands for a class name of a .h5 file that means an operation, or the layer of that name.

    Keras looks for layers alone there, and so cannot load what it saved: a mask holds the operation NotEqual.
    """

    def __init__(self, operation: Any, layer: Any) -> None:
        self._operation, self._layer = operation, layer

    def from_config(self, config: dict[str, Any]) -> Any:
        return (self._layer if self._layer and "trainable" in config else self._operation).from_config(config)


def _recorded(config: Any) -> dict[str, Any]:
    """The operations of Keras that a configuration names."""
    import keras

    from streaming._compat import operations_by_name

    kinds, operations = {entry["class_name"] for entry in _objects(config)}, operations_by_name()
    return {kind: _Recorded(operations[kind], getattr(keras.layers, kind, None)) for kind in kinds & set(operations)}


def _load_old(path: Path, saved: SavedConfig) -> Any:
    import h5py

    from streaming.conversion.keras2.graph import build_model
    from streaming.conversion.keras2.weights import load_by_layer, load_by_path

    model, parts = build_model(saved.config, str(path))
    try:
        if saved.zipped:
            with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as member:
                content = io.BytesIO(member.read())
            with h5py.File(content, "r") as file:
                load_by_path(file, model, parts, str(path))
        else:
            with h5py.File(path, "r") as file:
                load_by_layer(file, model, parts, str(path))
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the weights of {path} are damaged ({reason}); copy or save it again") from error
    return model


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every serialized object, however deep."""
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if isinstance(item.get("class_name"), str):
                yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _check_known(entry: dict[str, Any], path: Path, keras: Any) -> None:
    kind, module = entry["class_name"], entry.get("module")
    settings = entry.get("config")
    name = settings.get("name", "unnamed") if isinstance(settings, dict) else "unnamed"
    if kind in _LAMBDAS:
        raise NotStreamableError(
            f"layer {name!r} of {path} is a Lambda, code inside the file; write it as a layer or with keras.ops"
        )
    # Keras's own objects name a module of Keras; its inner marks, such as "__keras_tensor__", name none.
    registered = entry.get("registered_name")
    ours = module.split(".")[0] in ("keras", "builtins") if isinstance(module, str) else registered is None
    if not ours and keras.saving.get_registered_object(str(registered)) is None:
        shown = f"{module}.{kind}" if module else str(registered)
        raise NotStreamableError(
            f"layer {name!r} of {path} has the class {shown}, which Keras does not know; give --import MODULE "
            "with a module of yours that registers it by keras.saving.register_keras_serializable"
        )


def load_sequences(path: Path, inputs: Sequence[Any]) -> list[Any]:
    """Sequences to calibrate or measure on: each (T, *features), or a dict of them by input name.

    An .npy file holds one sequence, or (N, T, *features); in an .npz each array is a sequence, or, where the arrays
    are named as the inputs are, all sequences of that input.

    Raises:
        InputError: the file is missing, is neither, or its arrays have another rank than the inputs.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            size = sum(entry.file_size for entry in loaded.zip.infolist()) if loaded.zip is not None else 0
            check_memory(size, f"{path}, unpacked,", "give fewer sequences")
        arrays = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {"": loaded}
    except InputError:
        raise
    except (OSError, ValueError, EOFError, MemoryError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(
            f"cannot read {path} as numbers ({error}); give an .npy or .npz file saved by numpy"
        ) from error
    ranks = {tensor.name: len(tensor.shape) for tensor in inputs}
    if set(arrays) == set(ranks):
        batches = [_split(arrays[name], ranks[name], f"{path}: {name}") for name in ranks]
        return [dict(zip(ranks, item, strict=True)) for item in zip(*batches, strict=False)]
    if len(ranks) > 1:
        raise InputError(f"{path} has the arrays {sorted(arrays)}, expected one for each input: {sorted(ranks)}")
    rank = next(iter(ranks.values()))
    return [item for name, array in arrays.items() for item in _split(array, rank, f"{path}: {name}".rstrip(": "))]


def _split(array: NDArray[Any], rank: int, where: str) -> list[NDArray[Any]]:
    if array.ndim not in (rank - 1, rank):
        raise InputError(f"{where} has shape {array.shape}, expected {rank - 1} axes (T, features), or {rank} with N")
    return [array] if array.ndim == rank - 1 else list(array)
