"""Subclassed models and composite layers as graphs: their `call` is run on symbolic tensors, layer by layer."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras.src.models.functional import Functional

from streaming.errors import InputError, NotStreamableError


def unfold_model(model: keras.Model) -> Functional:
    """A functional model over the same layers as a subclassed one.

    Raises:
        InputError: the model was never called, so that the shape of its input is unknown.
        NotStreamableError: its `call` does more than call layers and `keras.ops`.
    """
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    if not model.built or not shapes:
        raise InputError(f"model {model.name!r} is not built; call it on data first")
    if len(shapes) > 1 or not _is_shape(next(iter(shapes.values()))):
        raise NotStreamableError(
            f"model {model.name!r} ({type(model).__name__}) is subclassed and has several inputs; "
            "rebuild it with the functional API from the same layers"
        )
    shape = next(iter(shapes.values()))
    return unfold(model, model.name, (keras.KerasTensor((None, None, *shape[2:])),), {})


def unfold(op: keras.Layer, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Functional:
    """The graph of one call of a composite layer; the tensors among the arguments become its inputs.

    Raises NotStreamableError where the `call` cannot be followed.
    """
    tensors: list[Any] = []

    def fresh(item: Any) -> Any:
        if not isinstance(item, keras.KerasTensor):
            return item
        tensors.append(keras.Input(batch_shape=item.shape, dtype=item.dtype))
        return tensors[-1]

    args, kwargs = keras.tree.map_structure(fresh, (args, kwargs))
    if "training" in inspect.signature(op.call).parameters:
        kwargs = {**kwargs, "training": False}
    try:
        outputs = op.call(*args, **kwargs)
        graph = keras.Model(tensors[0] if len(tensors) == 1 else tensors, outputs)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise NotStreamableError(
            f"layer {name!r} ({type(op).__name__}) has no streaming rule and its call cannot be followed "
            f"({type(error).__name__}: {reason[0][:120] if reason else ''}); build it from Keras layers and keras.ops, "
            "give it stream_spec and stream_step, or register a rule for it"
        ) from error
    if any(operation is op for operation in graph.operations):
        raise NotStreamableError(f"layer {name!r} ({type(op).__name__}) calls itself; build it from other layers")
    return graph


def can_unfold(op: Any) -> bool:
    """Whether the `call` of an operation may be followed: a layer of the user's own, or one that wraps others."""
    if type(op) in (keras.layers.Pipeline, keras.layers.SpectralNormalization):
        return True
    return isinstance(op, keras.Layer) and not type(op).__module__.startswith("keras.")


def _is_shape(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) >= 2 and all(isinstance(n, int) or n is None for n in value)
