"""Loads the weights of Keras 2 files into the Keras 3 model, layer by layer: each exactly once."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from streaming._compat import layers_of
from streaming.conversion.keras2.graph import MODELS, Part
from streaming.errors import InputError

MAX_DEPTH = 40
MAX_ITEMS = 100_000
# State of random numbers, of which the file has none and a stream needs none.
_RANDOM = "seed_generator"


def datasets(file: Any, path: str) -> dict[str, Any]:
    """All arrays of an HDF5 file by their path; links to other paths and files are refused."""
    arrays: dict[str, Any] = {}
    waiting = [("", file, 0)]
    while waiting:
        prefix, group, depth = waiting.pop()
        if depth > MAX_DEPTH or len(arrays) > MAX_ITEMS:
            raise InputError(f"{path} is nested too deep or has too many arrays; refused")
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise InputError(f"{path}: {prefix}{name} is a link, not an array; save the model again")
            item = group[name]
            if isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise InputError(f"{path}: {prefix}{name} keeps its numbers in another file; save the model again")
                arrays[prefix + name] = item
            else:
                waiting.append((f"{prefix}{name}/", item, depth + 1))
    return arrays


def load_by_layer(file: Any, model: Any, parts: Sequence[Part], path: str) -> None:
    """Set the weights of a whole-model .h5: for each layer a group with the names of its weights in their order.

    Raises InputError where a count, a name or a shape differs.
    """
    group = file.get("model_weights", file)
    arrays = datasets(group, path)
    names = [_text(name) for name in _attribute(group, "layer_names")]
    saved = {name: [_text(item) for item in _attribute(group[name], "weight_names")] for name in names}
    saved = {name: [f"{name}/{item}" for item in items] for name, items in saved.items() if items}
    wanted = {part.name: _weights(part.layer) for part in parts if part.layer is not None}
    wanted = {name: weights for name, weights in wanted.items() if weights}
    if set(saved) != set(wanted):
        wrong = sorted(set(saved) ^ set(wanted))[0]
        raise InputError(
            f"layer {wrong!r} of {path} has {len(saved.get(wrong, []))} weights in the file and "
            f"{len(wanted.get(wrong, []))} in Keras 3; save the model again"
        )
    for name, weights in wanted.items():
        if len(saved[name]) != len(weights):
            raise InputError(
                f"layer {name!r} of {path} has {len(saved[name])} weights in the file and {len(weights)} in Keras 3; "
                "build the model in Keras 3 and load its weights"
            )
        for place, weight in zip(saved[name], weights, strict=True):
            _check_leaf(place, weight, path)
            weight.assign(_values(arrays, place, weight.shape, path))
            arrays.pop(place)
    for layer in layers_of(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with a copy of its weights
    if arrays:
        raise InputError(f"{path} has weights at {min(arrays)!r} that belong to no layer; build the model in Keras 3")


def load_by_path(file: Any, model: Any, parts: Sequence[Part], path: str) -> None:
    """Set the weights of a .keras file, whose array paths follow the attributes of the model.

    Raises InputError where one is missing, left over or of another shape.
    """
    arrays = {
        place: item for place, item in datasets(file, path).items() if not place.startswith(("optimizer/", "metrics/"))
    }
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "fresh.weights.h5"
        model.save_weights(fresh)
        with h5py.File(fresh, "r+") as target:
            places = [place for place in datasets(target, path) if _RANDOM not in place and "optimizer/" not in place]
            roots = dict(_roots(model, parts))
            for place in places:
                old = _old_place(place, roots, arrays)
                if old is None:
                    raise InputError(f"{path} has no weights for {place!r}; save the model again, or as .h5")
                values = _values(arrays, old, target[place].shape, path)
                del arrays[old]
                target[place][...] = values
        left = sorted(place for place in arrays if "_random_generator" not in place)
        if left:
            raise InputError(f"{path} has weights at {left[0]!r} for which Keras 3 has no place; save it as .h5")
        model.load_weights(fresh)


def _roots(model: Any, parts: Sequence[Part], new: str = "", old: str = "") -> Iterator[tuple[str, str]]:
    """Paths of each layer in a file of Keras 3 and in the old one; layers are numbered by class in both."""
    counts: Counter[str] = Counter()
    places: dict[int, str] = {}
    for layer in model.layers:
        places[id(layer)] = f"{new}layers/{_numbered(type(layer).__name__, counts)}/"
    counts = Counter()
    for part in parts:
        place = f"{old}layers/{_numbered(part.kind, counts)}/"
        if part.layer is None:
            continue
        yield places[id(part.layer)], place
        if part.kind in MODELS:
            yield from _roots(part.layer, part.parts, places[id(part.layer)], place)


def _numbered(kind: str, counts: Counter[str]) -> str:
    """The name of a class in snake case, with a number from the second on, as Keras writes it."""
    name = re.sub(r"\W+", "", kind)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    name = re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
    counts[name] += 1
    return name if counts[name] == 1 else f"{name}_{counts[name] - 1}"


def _old_place(place: str, roots: Mapping[str, str], arrays: Mapping[str, Any]) -> str | None:
    root = max((root for root in roots if place.startswith(root)), key=len, default=None)
    moved = place if root is None else roots[root] + place.removeprefix(root)
    if moved in arrays:
        return moved
    # Attributes that were private in Keras 2: of attention, for instance.
    begin = len(moved) - len(place.removeprefix(root or ""))
    inner = moved[begin:].split("/")
    private = moved[:begin] + "/".join([f"_{inner[0]}", *inner[1:]])
    return private if private in arrays else None


def _weights(layer: Any) -> list[Any]:
    weights = [*layer.trainable_weights, *layer.non_trainable_weights]
    return [weight for weight in weights if _RANDOM not in weight.path]


def _check_leaf(place: str, weight: Any, path: str) -> None:
    old = place.rpartition("/")[2].partition(":")[0]
    known = {"kernel", "recurrent_kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "embeddings"}
    if old in known and weight.name in known and old != weight.name:
        raise InputError(
            f"{path} has {place!r} where Keras 3 has {weight.path!r}; build the model in Keras 3 and load its weights"
        )


def _values(arrays: Mapping[str, Any], place: str, shape: Sequence[int], path: str) -> NDArray[Any]:
    item = arrays.get(place)
    if item is None:
        raise InputError(f"{path} names weights at {place!r} and has none there; copy or save it again")
    if tuple(item.shape) != tuple(shape) or item.dtype.kind not in "fiu":
        raise InputError(
            f"{path} has weights of {item.dtype} {tuple(item.shape)} at {place!r}, Keras 3 expects {tuple(shape)}; "
            "build the model in Keras 3 and load its weights"
        )
    return np.asarray(item[()])


def _attribute(group: Any, name: str) -> list[Any]:
    """A list that may be split over several attributes: one holds 64 kB at most."""
    if name in group.attrs:
        return list(group.attrs[name])
    parts: list[Any] = []
    while f"{name}{len(parts)}" in group.attrs and len(parts) < MAX_ITEMS:
        parts.append(group.attrs[f"{name}{len(parts)}"])
    return [item for part in parts for item in part]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
