"""Reads the kind and the configuration of a saved model's file; builds nothing."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streaming.errors import InputError

MAX_CONFIG_BYTES = 64 * 2**20
MAX_WEIGHT_BYTES = 2**33
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class SavedConfig:
    """config: of the model as JSON says it; old: whether Keras 2 wrote it; zipped: whether it is a .keras file."""

    config: Any
    old: bool
    zipped: bool


def read_config(path: Path) -> SavedConfig:
    """The configuration in a .keras or whole-model .h5 file.

    Raises InputError, with a remedy, where the file is missing, damaged or something else.
    """
    if path.is_dir():
        raise InputError(_folder(path))
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the path of a file saved by model.save('name.keras')")
    try:
        with path.open("rb") as file:
            start = file.read(len(_HDF5))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give a file that may be read") from error
    return _hdf5(path) if start == _HDF5 else _zip(path)


def _folder(path: Path) -> str:
    if not (path / "saved_model.pb").is_file():
        return f"{path} is a folder; give the path of a file saved by model.save('name.keras')"
    if (path / "keras_metadata.pb").is_file():
        return (
            f"{path} is a SavedModel folder of Keras 2; write it as one file, "
            f"tf_keras.models.load_model({str(path)!r}).save('model.h5') (pip install tf_keras), and convert model.h5"
        )
    return (
        f"{path} is a SavedModel folder of model.export or tf.saved_model.save, which holds a graph and no Keras "
        "model; save the model itself with model.save('name.keras')"
    )


def _zip(path: Path) -> SavedConfig:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_WEIGHT_BYTES:
                raise InputError(f"{path} unpacks to more than {MAX_WEIGHT_BYTES} bytes; refused")
            config = _member(archive, "config.json", path)
            # Keras reads weights in parts, so that no checksum would be compared.
            if (damaged := archive.testzip()) is not None:
                raise InputError(f"{path} is damaged: {damaged} does not match its checksum; copy or save it again")
            about = _member(archive, "metadata.json", path) if "metadata.json" in archive.namelist() else {}
            return SavedConfig(config, _is_old(about.get("keras_version") if isinstance(about, dict) else None), True)
    except InputError:
        raise
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, RuntimeError, RecursionError) as error:
        raise InputError(
            f"{path} is no .keras or .h5 file of a model; save the model with model.save('name.keras')"
        ) from error


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> Any:
    entry = archive.getinfo(name)
    if entry.file_size > MAX_CONFIG_BYTES:
        raise InputError(f"{path}: {name} has {entry.file_size} bytes, no model needs that many; refused")
    with archive.open(entry) as file:
        return json.loads(file.read(MAX_CONFIG_BYTES))


def _hdf5(path: Path) -> SavedConfig:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            text, version = file.attrs.get("model_config"), file.attrs.get("keras_version")
            weights = "layer_names" in file.attrs or "layers" in file or "_layer_checkpoint_dependencies" in file
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is damaged ({reason}); copy or save it again") from error
    if text is None:
        what = "weights without their model" if weights else "no Keras model"
        raise InputError(
            f"{path} holds {what}; build the model in Keras 3, load weights with model.load_weights, and save all "
            "of it with model.save('name.keras')"
        )
    if len(text) > MAX_CONFIG_BYTES:
        raise InputError(f"{path}: model_config has {len(text)} bytes, no model needs that many; refused")
    try:
        return SavedConfig(json.loads(text), _is_old(version), False)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: model_config is not JSON ({error}); copy or save it again") from error


def _is_old(version: Any) -> bool:
    text = version.decode("utf-8", "replace") if isinstance(version, bytes) else version
    return not isinstance(text, str) or text.partition(".")[0] in ("0", "1", "2")
