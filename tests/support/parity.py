"""A stream, cut at fixed places, against the offline model, with nothing of the library's own prover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

import streaming

Arrays = dict[str, np.ndarray]


def check_parity(
    model: keras.Model, path: Any, runtime: str = "auto", steps: int = 11, cuts: Sequence[Sequence[int]] = ()
) -> None:
    """The stream of a functional model on random inputs; see `check_stream`."""
    check_stream(
        lambda arrays: model(_as_taken(model, arrays), training=False), path, random_inputs(model, steps), runtime, cuts
    )


def random_inputs(model: keras.Model, steps: int, seed: int = 7) -> Arrays:
    """Inputs (T, *features) of a functional model, (*features) where it has no time axis: noise, ids below 3."""
    generator, arrays = np.random.default_rng(seed), {}
    for tensor in model.inputs:
        shape = tuple(steps if size is None else size for size in tensor.shape[1:])
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        values = generator.normal(size=shape) if "float" in dtype else generator.integers(0, 3, shape)
        arrays[tensor.name] = values.astype(dtype)
    return arrays


def check_stream(
    offline: Callable[[Arrays], Any],
    path: Any,
    inputs: Arrays,
    runtime: str = "auto",
    cuts: Sequence[Sequence[int]] = (),
) -> None:
    """Compares every output of a converted model, to 1e-5 of its largest value.

    offline: from inputs with a batch axis, in the order of the stream's, to the outputs of the Keras model. inputs: by
    any name, without a batch axis; cuts: between pieces, else whole, at three places, and step by step.
    """
    loaded = streaming.load(path, runtime=runtime)
    outputs = offline({name: array[None] for name, array in inputs.items()})
    if isinstance(outputs, dict) and set(outputs) == set(loaded.output_spec):
        expected = {name: np.asarray(value)[0] for name, value in outputs.items()}
    else:
        values = [np.asarray(value)[0] for value in keras.tree.flatten(outputs)]
        expected = dict(zip(loaded.output_spec, values, strict=True))
    given = dict(zip(loaded.input_spec, inputs.values(), strict=True)) if len(inputs) == 1 else inputs
    steps = max(len(given[name]) for name, info in loaded.input_spec.items() if info.time)
    for cut in cuts or ([], [1, 2, 7], list(range(1, steps))):
        stream, pieces = loaded.create_stream(), []
        for begin, end in zip([0, *cut], [*cut, steps], strict=True):
            part = {n: given[n][begin:end] if info.time else given[n] for n, info in loaded.input_spec.items()}
            pieces.append(stream.feed(part if len(part) > 1 else next(iter(part.values()))))
        pieces.append(stream.finish())
        for name, want in expected.items():
            got = np.concatenate([piece[name] if isinstance(piece, dict) else piece for piece in pieces])
            got = got[-1] if got.ndim > want.ndim else got
            scale = max(1.0, float(np.abs(np.nan_to_num(want.astype("float64"))).max(initial=0)))
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * scale, err_msg=f"{name} cut at {cut}")


def _as_taken(model: keras.Model, arrays: Arrays) -> Any:
    """A dict where the model was built on one, else a list, or its only array."""
    if isinstance(model._inputs_struct, dict):
        return {key: arrays[tensor.name] for key, tensor in model._inputs_struct.items()}
    return list(arrays.values()) if len(arrays) > 1 else next(iter(arrays.values()))
