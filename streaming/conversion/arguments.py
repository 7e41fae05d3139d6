"""Shapes of the arguments of a subclassed model's `call`.

Keras remembers the first argument's alone. Those of the others are found from what the layers inside remember: of the
shapes that occur there, the only ones with which each layer is called on the shape that it was built for.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from streaming._compat import compute_output_spec, layers_of

# Combinations of shapes that are tried, at most: each is a run of the model on symbolic tensors.
MAX_TRIALS = 400

Shape = tuple[int | None, ...]


def argument_shapes(model: keras.Model) -> dict[str, Any]:
    """Shapes, or lists and dicts of them, of the arguments of `call` by name; those that cannot be told are missing."""
    remembered = getattr(model, "_build_shapes_dict", None) or {}
    shapes = {name.removesuffix("_shape"): shape for name, shape in remembered.items() if shape is not None}
    parameters = list(inspect.signature(model.call).parameters)
    if set(shapes) - set(parameters):  # Keras's default `build` remembers the first argument, under another name
        shapes = dict(zip(parameters, shapes.values(), strict=False))
    missing = [name for name in required_arguments(model) if name not in shapes]
    if not missing or not shapes:
        return shapes
    return {**shapes, **(_found(model, shapes, missing) or {})}


def required_arguments(model: keras.Model) -> list[str]:
    """Names of the arguments of `call` that have no default."""
    parameters = inspect.signature(model.call).parameters.items()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, p in parameters if p.default is p.empty and p.kind in named]


def shapes_in(structure: Any) -> Iterator[Shape]:
    """Shapes among nested shapes."""
    if isinstance(structure, Mapping):
        structure = list(structure.values())
    if is_shape(structure):
        yield tuple(structure)
    elif isinstance(structure, list | tuple):
        for item in structure:
            yield from shapes_in(item)


def is_shape(value: Any) -> bool:
    """Whether a value is a shape, and no list of shapes."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(n, int) or n is None for n in value)


def _found(model: keras.Model, shapes: dict[str, Any], missing: list[str]) -> dict[str, Any] | None:
    """Shapes of the missing arguments, None unless there is just one choice; tensors come before lists of them."""
    built = {id(layer): list(shapes_in(layer._build_shapes_dict)) for layer in layers_of(model, include_self=False)}
    first = next(shapes_in(shapes), ())
    choices = _choices({first, *itertools.chain(*built.values())}, first[0] if first else None)
    if len(choices) ** len(missing) > MAX_TRIALS:
        return None
    fitting = []
    for chosen in itertools.product(choices, repeat=len(missing)):
        tried = dict(zip(missing, chosen, strict=True))
        if _fits(model, {**shapes, **tried}, built):
            fitting.append(tried)
    plain = [tried for tried in fitting if all(map(is_shape, tried.values()))]
    return (plain or fitting)[0] if len(plain or fitting) == 1 else None


def _choices(known: set[Shape], batch: int | None) -> list[Any]:
    """Shapes that an argument may have: those of the layers, without axes of size 1, and pairs of states."""
    shapes = set()
    for shape in known:
        if len(shape) > 1 and shape[0] in (batch, None):
            rows = (batch, *shape[1:])
            shapes |= {rows, (batch, *(size for size in shape[1:] if size != 1)), (batch, shape[-1])}
    ordered: list[Any] = sorted((shape for shape in shapes if None not in shape[1:] and len(shape) > 1), key=math.prod)
    return ordered + [[shape, shape] for shape in ordered if len(shape) == 2]


def _fits(model: keras.Model, shapes: dict[str, Any], built: dict[int, list[Shape]]) -> bool:
    """Whether the model takes these shapes, and each layer inside gets those that it was built for."""
    calls: dict[int, list[Shape]] = {}
    with _recorded(calls), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that are only tried
        try:
            compute_output_spec(model.call, **{name: _tensors(shape) for name, shape in shapes.items()})
        except Exception:  # of whatever kind: it does not take these shapes
            return False
    as_built = all(
        any(_agree(wanted, shape) for shape in calls.get(layer, ()))
        for layer, wanted_shapes in built.items()
        for wanted in wanted_shapes
    )
    return as_built and all(_states_fit(layer, calls.get(id(layer), [])) for layer in layers_of(model))


def _states_fit(layer: Any, shapes: list[Shape]) -> bool:
    """Whether the states that a cell is called with, behind its input, are (B, U) of its units."""
    sizes = keras.tree.flatten(getattr(layer, "state_size", None))
    if not shapes or not all(isinstance(size, int) for size in sizes):
        return True
    return all(shape[1:] == (size,) for size, shape in zip(sizes, shapes[1:], strict=False))


def _agree(wanted: Shape, shape: Shape) -> bool:
    sizes = zip(wanted[1:], shape[1:], strict=False)
    return len(wanted) == len(shape) and all(a == b or a is None or b is None for a, b in sizes)


def _tensors(shape: Any) -> Any:
    if not is_shape(shape):
        items = shape.items() if isinstance(shape, dict) else None
        return {k: _tensors(item) for k, item in items} if items is not None else [_tensors(item) for item in shape]
    return keras.KerasTensor(tuple(shape))


@contextlib.contextmanager
def _recorded(calls: dict[int, list[Shape]]) -> Iterator[None]:
    """Context in which the shapes of the arguments of each layer's first call are kept, by its id."""
    original = keras.layers.Layer.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        tensors = [item for item in keras.tree.flatten((args, kwargs)) if hasattr(item, "shape")]
        calls.setdefault(id(self), [tuple(item.shape) for item in tensors])
        return original(self, *args, **kwargs)

    keras.layers.Layer.__call__ = call
    try:
        yield
    finally:
        keras.layers.Layer.__call__ = original
