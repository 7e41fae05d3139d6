"""The graph that is planned: the user's model as a functional one, and the same for sequences of another length.

Keras records a graph for the shapes of its inputs. `rebuild` runs it again on inputs of other shapes, layer by layer,
with the same layers and weights: with an unknown number of steps for a stream that carries its state, with W steps for
a window. A layer that needs the length it was built with, such as Flatten, raises an error here that names it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from streaming._compat import Functional, inputs_of, layers_of, nodes_of, numpy_operations, outputs_of
from streaming.conversion.reasons import described
from streaming.conversion.unfold import unfold_model
from streaming.errors import InputError, NotStreamableError

Shape = tuple[int | None, ...]


def functional(model: Any) -> Functional:
    """The graph of a model; subclassed models are traced layer by layer.

    Raises:
        InputError: this is no Keras model, or it is not built.
        NotStreamableError: a subclassed model does more than call layers and `keras.ops`.
    """
    if not isinstance(model, keras.Model):
        raise InputError(f"expected a keras.Model, got {type(model).__name__}; give a functional or Sequential model")
    if isinstance(model, keras.Sequential):
        if not model.built or model._functional is None:
            raise InputError(
                f"model {model.name!r} is not built; add keras.Input((None, features)) first or call it on data"
            )
        return model._functional
    return model if is_graph(model) else unfold_model(model)


def is_graph(op: Any) -> bool:
    """Whether an operation is a functional or Sequential model whose `call` is Keras's own."""
    if isinstance(op, keras.Sequential):
        return type(op).call is keras.Sequential.call
    return isinstance(op, Functional) and type(op).call is Functional.call


def rebuild(function: Functional, shapes: Mapping[int, Shape], *, flat: bool = False) -> Functional:
    """The graph on inputs of other shapes, nested models included.

    Args:
        function: the graph; shapes: (B, ...) of inputs by their place, the others keep theirs.
        flat: put the calls of nested models in the place of the models.

    Raises:
        NotStreamableError: a layer cannot take the new shape; it is named.
    """
    inputs = [
        keras.Input(batch_shape=shapes.get(place, tensor.shape), dtype=input_dtype(tensor), name=tensor.name)
        for place, tensor in enumerate(function.inputs)
    ]
    outputs = _run(function, inputs, flat)
    return keras.Model(keras.tree.pack_sequence_as(inputs_of(function), inputs), outputs, name=function.name)


def _run(function: Functional, inputs: list[Any], flat: bool) -> Any:
    """The outputs of a graph on symbolic inputs, in its structure."""
    values = dict(zip(map(id, function.inputs), inputs, strict=True))
    for node in nodes(function):
        if any(id(tensor) not in values for tensor in node.input_tensors):
            continue
        args, kwargs = node.arguments.fill_in(values)
        outputs = _call(_unfixed(node, args), args, kwargs, flat)
        values |= dict(zip(map(id, node.outputs), keras.tree.flatten(outputs), strict=True))
    return keras.tree.map_structure(lambda tensor: values[id(tensor)], outputs_of(function))


def _unfixed(node: Any, args: Any) -> Any:
    """The operation of a call; for a reshape that names the number of steps, one that takes any number."""
    op, tensors = node.operation, keras.tree.flatten(args)
    if not isinstance(op, keras.layers.Reshape | numpy_operations.Reshape):
        return op
    old, new = node.input_tensors[0].shape, tuple(node.outputs[0].shape)
    steps = old[1] if len(old) > 2 and len(new) > 2 else None
    along = steps is not None and new[:2] == tuple(old[:2]) and None not in new[2:]
    if not along or tensors[0].shape[1] is not None or math.prod(new[2:]) != math.prod(old[2:]):
        return op
    return keras.layers.Reshape((-1, *new[2:]), name=op.name)


def input_dtype(tensor: Any) -> str:
    """The dtype in which a stream takes an input: float32 for every kind of float."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return "float32" if "float" in dtype else dtype


def drawn_inputs(function: Functional, steps: int = 16) -> list[Any]:
    """A random tensor for each input, two sequences in a batch of unknown size; ids are zero."""
    generator, tensors = np.random.default_rng(0), []
    for tensor in function.inputs:
        shape = [(2 if axis == 0 else steps) if size is None else size for axis, size in enumerate(tensor.shape)]
        numbers = not holds_ids(function, tensor)
        values = generator.standard_normal(shape) if numbers else np.zeros(shape)
        tensors.append(keras.ops.convert_to_tensor(values, input_dtype(tensor)))
    return tensors


def nodes(function: Functional) -> list[Any]:
    """The calls of a graph in the order in which they run, inputs left out."""
    return [node for node in nodes_of(function) if not node.is_input]


def _call(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any], flat: bool) -> Any:
    try:
        if is_graph(op):
            tensors = keras.tree.flatten(args)
            if flat:
                return _run(functional(op), tensors, True)
            inner = rebuild(functional(op), {place: tensor.shape for place, tensor in enumerate(tensors)})
            return inner(*args, **kwargs)
        return op(*args, **kwargs)
    except NotStreamableError:
        raise
    except Exception as error:
        raise NotStreamableError(
            f"layer {op.name!r} ({type(op).__name__}) needs the number of steps that the model was built with "
            f"({described(error)}); convert with window=W for windows of W steps"
        ) from error


def steps_of(function: Functional, skipped: frozenset[str] | set[str] = frozenset()) -> dict[int, int | None]:
    """Inputs that may be sequences, by place: their number of steps, None where it is unknown.

    A sequence is (B, T, ...) with features, a row (B, T) of ids (integers, or numbers that tables read), or a row of
    numbers that the model itself shapes into steps.
    """
    steps: dict[int, int | None] = {}
    for place, tensor in enumerate(function.inputs):
        shape = tuple(tensor.shape)
        if tensor.name in skipped or len(shape) < 2:
            continue
        if shape[1] is None or len(shape) > 2 or holds_ids(function, tensor) or _is_unrolled(function, tensor):
            steps[place] = shape[1]
    return steps


def _is_unrolled(function: Functional, tensor: Any) -> bool:
    """Whether a row of numbers is a sequence in disguise: all that reads it gives it more axes."""
    readers = [node for node in nodes(function) if any(item is tensor for item in node.input_tensors)]
    return bool(readers) and all(
        type(node.operation).__name__ in ("Reshape", "ExpandDims") and len(node.outputs[0].shape) > 2
        for node in readers
    )


def _begins_with_table(op: Any, rank: int) -> bool:
    """Whether an operation reads rows of a table by ids: an embedding, or one's own layer on (B, T) that has one."""
    own = rank == 2 and isinstance(op, keras.Layer) and not type(op).__module__.startswith("keras.")
    inner = layers_of(op) if own else [op]
    return any(isinstance(getattr(layer, "input_dim", None), int) for layer in inner)


def holds_ids(function: Functional, tensor: Any) -> bool:
    """Whether an input holds integers, or numbers that go into a table."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if not dtype.startswith("float"):
        return True
    for node in nodes(function):
        if any(item is tensor for item in node.input_tensors):
            op = node.operation
            if is_graph(op):
                inner = functional(op)
                place = next(i for i, item in enumerate(node.input_tensors) if item is tensor)
                if holds_ids(inner, inner.inputs[place]):
                    return True
            elif _begins_with_table(op, len(tensor.shape)):
                return True
    return False
