"""Reference inputs with the Keras model's outputs, shipped with a bundle, to check a stream without Keras."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.errors import DataError
from streaming.errors import StreamingError
from streaming.runtime.driving import run_whole
from streaming.runtime.facts import Proof

if TYPE_CHECKING:
    import keras

    from streaming.runtime.model import StreamingModel

REFERENCE_FILE = "reference.safetensors"
# In the smallest chunks that the model takes.
_LENGTHS = (1, 2, 7, 19, 40)
# With a whole input for each, such as a picture: the bundle has to stay small.
_ENCODED_LENGTHS = (2, 7)
_PIECES = 3
# Most values of a step that are stored: of larger ones every so many-th.
_VALUES = 256


def make_reference(model: keras.Model, stream: StreamingModel, seed: int = 0) -> bytes:
    """Random sequences and the outputs of a Keras model for them, as a safetensors file.

    A step of more than 256 numbers is stored as a flat row of every k-th of them, with the least k that gives at most
    256.

    Args:
        model: the offline model.
        stream: the same model, converted; it gives the shapes of the inputs.
        seed: of the random inputs.
    """
    from safetensors.numpy import save

    rng, encode = np.random.default_rng(seed), stream.metadata.encode
    arrays: dict[str, NDArray[Any]] = {}
    names = list(stream.output_spec)
    for number, units in enumerate(_LENGTHS if encode is None else _ENCODED_LENGTHS):
        length = units * stream.metadata.unit
        given = {name: _random(info, length, rng) for name, info in stream.input_spec.items()}
        whole = {}
        if encode is not None:
            # As long a source as there is room for, at most.
            most = min(length, encode.max_length or length)
            # Small whole numbers: a picture is stored in bytes.
            whole = {info.name: np.rint(_random(info, most, rng)).astype(info.dtype) for info in encode.inputs}
        arrays |= {f"{number}/whole/{name}": _short(array, np.int8) for name, array in whole.items()}
        predicted = model.predict_on_batch({name: array[None] for name, array in {**given, **whole}.items()})
        outputs = predicted if isinstance(predicted, dict) else dict(zip(names, _listed(predicted), strict=True))
        arrays |= {f"{number}/in/{name}": _short(array) for name, array in given.items()}
        rows = {name: np.asarray(array)[0] for name, array in outputs.items()}
        arrays |= {f"{number}/out/{name}": _thinned(array, stream.output_spec[name]) for name, array in rows.items()}
    return save(arrays)


def prove(model: StreamingModel, path: Path, seed: int = 0) -> Proof:
    """Stream the inputs of a reference, cut at random, and compare with the outputs of the Keras model.

    Raises:
        DataError: the file is damaged, or belongs to another model.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(path.read_bytes())
        count = 1 + max(int(name.split("/")[0]) for name in arrays)
        rng, worst, relative, steps = np.random.default_rng(seed), 0.0, 0.0, 0
        for number in range(count):
            given = {name: arrays[f"{number}/in/{name}"].astype(info.dtype) for name, info in model.input_spec.items()}
            encode = model.metadata.encode
            whole = {
                info.name: arrays[f"{number}/whole/{info.name}"].astype(info.dtype)
                for info in (encode.inputs if encode else ())
            }
            length = len(next(iter(given.values())))
            cuts = np.sort(rng.integers(0, length + 1, _PIECES)).tolist()
            streamed = run_whole(model.create_stream(), given | whole, cuts)
            steps += length
            for name, info in model.output_spec.items():
                expected = arrays[f"{number}/out/{name}"]
                got = _thinned(streamed[name][-1] if info.running else streamed[name], info)
                if got.shape != expected.shape:
                    raise ValueError(f"{name} has shape {got.shape} where the Keras model has {expected.shape}")
                error = float(np.abs(got - expected).max(initial=0.0))
                scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
                worst, relative = max(worst, error), max(relative, error / scale)
    except (OSError, SafetensorError, KeyError, ValueError, IndexError, StreamingError) as error:
        raise DataError(f"{path} is no reference of this model ({error}); take both from one bundle") from error
    return Proof(count, steps, worst, relative)


def _random(info: Any, length: int, rng: np.random.Generator) -> NDArray[Any]:
    shape = (length, *info.shape) if info.time else tuple(info.shape)
    if np.issubdtype(np.dtype(info.dtype), np.floating):
        # Numbers that float16 has, so that they can be stored in it.
        return rng.standard_normal(shape).astype(np.float16).astype(info.dtype)
    return rng.integers(info.low or 0, 2 if info.high is None else info.high, shape).astype(info.dtype)


def _thinned(array: NDArray[Any], info: Any) -> NDArray[Any]:
    """What is stored of an output, (T, ...) or, where it is running, one step of it."""
    size = math.prod(info.shape)
    if size <= _VALUES:
        return array
    rows = array.reshape(-1, size)[:, :: -(-size // _VALUES)]
    return np.ascontiguousarray(rows[0] if info.running else rows)


def _short(array: NDArray[Any], dtype: Any = np.float16) -> NDArray[Any]:
    return array.astype(dtype) if array.dtype.kind == "f" else array


def _listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]
