"""Subclassed models and composite layers as graphs: their `call` is run on symbolic tensors, layer by layer.

First with unknown sizes. A `call` that computes with the number of sequences or steps (`ops.shape(x)[0] * 4`, zeros for
an initial state) is run twice on tensors of distinct sizes instead, and what differs between the two is unknown.
A `call` that cannot be traced at all is one operation, which is tried on each step by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import keras

from streaming._compat import Functional, nodes_of, outputs_of
from streaming.conversion.arguments import argument_shapes, is_shape, required_arguments, shapes_in
from streaming.conversion.reasons import described
from streaming.conversion.rules import inherited_calls
from streaming.conversion.rules.opaque import Opaque
from streaming.conversion.sizes import draw_sizes, forget_sizes
from streaming.errors import InputError, NotStreamableError


class SubclassedModel:
    """A subclassed model with the arguments of its `call` in one structure, as a functional model takes them."""

    def __init__(self, model: keras.Model, names: list[str] | None) -> None:
        self.model, self.name, self._names = model, model.name, names

    def __call__(self, inputs: Any, training: bool = False) -> Any:
        """Call the model; inputs: one structure, or a list of the arguments that have names."""
        kwargs = {"training": training} if "training" in inspect.signature(self.model.call).parameters else {}
        if self._names is None:
            return self.model(inputs, **kwargs)
        return self.model(**dict(zip(self._names, inputs, strict=True)), **kwargs)


def unfold_model(model: keras.Model) -> Functional:
    """A functional model over the same layers as a subclassed one; `offline` is what to compare with.

    Raises:
        InputError: the model was never called, so that the shapes of its inputs are unknown.
    """
    shapes = argument_shapes(model)
    if not model.built or not shapes:
        raise InputError(f"model {model.name!r} is not built; call it on data first")
    required = required_arguments(model)
    if missing := [name for name in required if name not in shapes]:
        inputs = ", ".join(f"{name}=keras.Input(..., name={name!r})" for name in required)
        raise NotStreamableError(
            f"model {model.name!r} ({type(model).__name__}) takes {missing[0]!r} too, whose shape Keras does not "
            f"remember; say the inputs by a functional model around it: inputs = dict({inputs}); "
            "model = keras.Model(inputs, model(**inputs))"
        )
    lengths = _lengths(shapes)
    tensors = {name: _symbolic(name, shape, lengths) for name, shape in shapes.items()}
    graph = unfold(model, model.name, (), tensors)
    integers = [tensor for tensor in graph.inputs if _holds_ids(graph, tensor)]
    if integers:
        names = {tensor.name for tensor in integers}
        tensors = keras.tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, "int32" if x.name in names else x.dtype, name=x.name), tensors
        )
        graph = unfold(model, model.name, (), tensors)
    single, tensors = len(tensors) == 1, dict(sorted(tensors.items()))  # as Keras flattens arguments by name
    inputs = keras.tree.pack_sequence_as(
        next(iter(tensors.values())) if single else list(tensors.values()), graph.inputs
    )
    graph = keras.Model(inputs, outputs_of(graph), name=graph.name)
    graph.offline = SubclassedModel(model, None if single else list(tensors))
    return graph


def _lengths(shapes: dict[str, Any]) -> set[int | None]:
    """Sizes of axis 1 that are numbers of steps, and unknown in the graph.

    None of them for several arguments of which one has a single step: a model of one step keeps its shapes.
    """
    lengths = {shape[1] for shape in shapes_in(shapes) if len(shape) == 3}
    first = next(shapes_in(shapes))
    lengths |= {first[1]} if len(first) > 1 else set()
    return set() if len(shapes) > 1 and 1 in lengths else lengths


def _symbolic(name: str, shape: Any, lengths: set[int | None]) -> Any:
    """Tensors for shapes: those with the length of the sequences have an unknown one, and all an unknown batch."""
    if isinstance(shape, dict):
        return {key: _symbolic(key, item, lengths) for key, item in shape.items()}
    if not is_shape(shape):
        return [_symbolic(f"{name}_{index}", item, lengths) for index, item in enumerate(shape)]
    moving = len(shape) > 1 and shape[1] in lengths
    return keras.KerasTensor((None, None, *shape[2:]) if moving else (None, *shape[1:]), name=name)


def _holds_ids(graph: Functional, tensor: Any) -> bool:
    """Whether only tables read an input."""
    readers = [
        op for op in graph.operations for node in op._inbound_nodes if any(t is tensor for t in node.input_tensors)
    ]
    return bool(readers) and all(isinstance(op, keras.layers.Embedding) for op in readers)


def unfold(op: keras.Layer, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Functional:
    """The graph of one call of a composite layer; the tensors among the arguments become its inputs.

    If the `call` cannot be traced, the graph is one call of `Opaque`. Raises NotStreamableError for a layer that
    calls itself.
    """
    try:
        graph = _run(op, args, kwargs, None)
        if any(0 in tuple(getattr(item, "shape", ())) for item in _arguments(graph)):
            raise ValueError("the call counts the steps")  # ops.arange(None) has none
        if _fixes_length(graph):
            graph = _sized(op, args, kwargs) or graph
    except Exception as error:
        graph = _sized(op, args, kwargs) or _run(op, args, kwargs, None, Opaque(op, name, described(error)))
    if any(operation is op for operation in graph.operations):
        raise NotStreamableError(f"layer {name!r} ({type(op).__name__}) calls itself; build it from other layers")
    return graph


def _arguments(graph: Functional) -> Iterator[Any]:
    for node in nodes_of(graph):
        yield from keras.tree.flatten((node.arguments.args, node.arguments.kwargs))


def _fixes_length(graph: Functional) -> bool:
    """Whether a constant has as many steps as it happens to have, as of `table[:, : ops.shape(x)[1]]`."""
    for node in nodes_of(graph):
        shapes = [tuple(tensor.shape) for tensor in node.input_tensors]
        for output in node.outputs:
            alike = [shape for shape in shapes if len(shape) == len(output.shape) > 1]
            if any(shape[1] is None for shape in alike) and isinstance(output.shape[1], int):
                return True
    return False


def _sized(op: keras.Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Functional | None:
    """The graph of a call that computes with sizes, None where it cannot be told what comes from them."""
    for drawn in draw_sizes(op, (args, kwargs)):
        try:
            return forget_sizes(op, lambda sizes: _run(op, args, kwargs, sizes), drawn)
        except Exception:  # of whatever kind: the call does not take these sizes
            continue
    return None


def _run(
    op: Any, args: tuple[Any, ...], kwargs: dict[str, Any], sizes: tuple[int, int] | None, opaque: Opaque | None = None
) -> Functional:
    """The graph of a call on fresh tensors, of so many sequences and steps."""
    tensors: list[Any] = []

    def fresh(item: Any) -> Any:
        if not isinstance(item, keras.KerasTensor):
            return item
        shape = list(item.shape)
        for axis, size in enumerate(sizes or ()):
            if axis < len(shape) and shape[axis] is None:
                shape[axis] = size
        tensors.append(keras.Input(batch_shape=shape, dtype=item.dtype, name=item.name))
        return tensors[-1]

    args, kwargs = keras.tree.map_structure(fresh, (args, kwargs))
    parameters = list(inspect.signature(op.call).parameters)
    if "training" in parameters[: len(args)]:
        place = parameters.index("training")
        args = (*args[:place], False, *args[place + 1 :])
    elif "training" in parameters:
        kwargs = {**kwargs, "training": False}
    if opaque is not None:
        outputs = opaque(*args, **kwargs)
    else:
        with inherited_calls(op):
            outputs = op.call(*args, **kwargs)
    return keras.Model(tensors[0] if len(tensors) == 1 else tensors, outputs)


def can_unfold(op: Any) -> bool:
    """Whether the `call` of an operation may be traced: a custom layer, or a layer that wraps others."""
    if type(op) in (keras.layers.Pipeline, keras.layers.SpectralNormalization, keras.layers.Lambda):
        return True
    return isinstance(op, keras.Layer) and not type(op).__module__.startswith("keras.")
