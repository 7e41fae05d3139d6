"""String inputs: a `StringLookup` at the input becomes a table in the file, and the graph begins with its ids."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from streaming.conversion.graph import functional, is_graph, nodes
from streaming.errors import NotStreamableError
from streaming.runtime.lookup import LookupTable


def without_strings(model: Any) -> tuple[Any, dict[str, LookupTable]]:
    """The model from the ids of its strings on, and the tables that give them, by input; other models as they are.

    Raises:
        NotStreamableError: strings go into something else than one StringLookup that gives an id for each of them.
    """
    if not isinstance(model, keras.Model) or not is_graph(model) or not model.built:
        return model, {}
    function = functional(model)
    strings = [tensor for tensor in function.inputs if keras.backend.standardize_dtype(tensor.dtype) == "string"]
    if not strings:
        return model, {}
    found: dict[int, Any] = {}
    tables: dict[str, LookupTable] = {}
    inputs = []
    for tensor in function.inputs:
        kept = not any(tensor is item for item in strings)
        dtype = tensor.dtype if kept else "int64"
        inputs.append(keras.Input(batch_shape=tensor.shape, dtype=dtype, name=tensor.name))
        if kept:
            found[id(tensor)] = inputs[-1]
            continue
        lookup = _lookup(function, tensor)
        tables[tensor.name] = _table(lookup.operation)
        found[id(lookup.outputs[0])] = inputs[-1]
    for node in nodes(function):
        if all(id(tensor) in found for tensor in node.input_tensors) and id(node.outputs[0]) not in found:
            args, kwargs = node.arguments.fill_in(found)
            outputs = keras.tree.flatten(node.operation(*args, **kwargs))
            found |= dict(zip(map(id, node.outputs), outputs, strict=True))
    given = keras.tree.map_structure(lambda tensor: found[id(tensor)], function._outputs_struct)
    return keras.Model(keras.tree.pack_sequence_as(function._inputs_struct, inputs), given, name=model.name), tables


def _lookup(function: Any, tensor: Any) -> Any:
    """The call that the strings of an input go into."""
    calls = [node for node in nodes(function) if any(item is tensor for item in node.input_tensors)]
    kinds = [type(node.operation).__name__ for node in calls]
    if kinds != ["StringLookup"]:
        raise NotStreamableError(
            f"input {tensor.name!r} holds strings that go into {' and '.join(kinds) or 'no layer'}, a stream takes "
            "those of one StringLookup; replace it by a StringLookup of single words, or begin the model with ids"
        )
    layer = calls[0].operation
    if layer.invert or layer.output_mode != "int" or layer.num_oov_indices > 1:
        raise NotStreamableError(
            f"layer {layer.name!r} (StringLookup) has output_mode={layer.output_mode!r}, invert={layer.invert} and "
            f"num_oov_indices={layer.num_oov_indices}, a stream takes 'int', False and 0 or 1; begin the model with ids"
        )
    return calls[0]


def _table(layer: Any) -> LookupTable:
    """The table of a layer, proven on all of its words and on some that it does not have."""
    words = {str(word): index for index, word in enumerate(layer.get_vocabulary())}
    unknown = layer.get_vocabulary().index(layer.oov_token) if layer.num_oov_indices else None
    table = LookupTable(words, unknown)
    others = [] if unknown is None else ["", " ", "[UNK]", "\u00e9", "e\u0301", *(f"{word} " for word in words)]
    asked = np.array([*words, *others], object)
    expected = keras.ops.convert_to_numpy(layer(asked))
    if not np.array_equal(table.ids(asked, layer.name, "int64"), expected):
        raise NotStreamableError(
            f"layer {layer.name!r} (StringLookup) gives other ids than its vocabulary says; begin the model with ids"
        )
    return table
