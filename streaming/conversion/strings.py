"""String inputs: the layer that maps strings to ids becomes a table in the file, and the graph begins with ids.

With `StringLookup` and `Hashing` each string is a step. With `TextVectorization` each token is a step if the model is
carried or `window` counts tokens; if the layer or `max_length` gives texts a length, or the model cannot be carried
token by token, each text is a step, and a window is one step long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from streaming._compat import inputs_of, layers_of, outputs_of
from streaming.conversion.decide import plan_model
from streaming.conversion.dequantize import dequantized
from streaming.conversion.graph import drawn_inputs, functional, is_graph, nodes
from streaming.conversion.options import DEFAULT_LENGTH
from streaming.conversion.precision import in_float32
from streaming.conversion.rules.base import Options
from streaming.errors import InputError, NotStreamableError
from streaming.runtime.lookup import MAX_NGRAM, HashTable, LookupTable, Table, TextTable

_LAYERS = (layers.StringLookup, layers.Hashing, layers.TextVectorization)
_OTHERS = ["", " ", "[UNK]", "\u00e9", "e\u0301", "It's  A-b_c,\tx.y!", "\u4f60\u597d", "UPPER \u00c9", "a" * 80]


@dataclass(frozen=True)
class TextInputs:
    """tables: of the ids of strings, by input; text: whether tokens of unknown number are the steps."""

    tables: dict[str, Table]
    text: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user on texts that may be too long."""
        bounded = [t.length for t in self.tables.values() if isinstance(t, TextTable) and t.length and not t.cut]
        return tuple(f"each step takes a text of at most {length} tokens (max_length)" for length in bounded[:1])


def take_texts(model: Any, options: Options) -> tuple[Any, TextInputs, Options]:
    """`without_strings`, with texts as steps where the model cannot be carried token by token. Raises as it does."""
    plain, texts, changed = without_strings(model, options)
    if not texts.text or options.window is not None:
        return plain, texts, changed
    with in_float32(dequantized(plain)[0]) as (trial, _):
        try:
            if not set(texts.tables) & set(plan_model(trial, changed).encoded):
                return plain, texts, changed
            tokens = "one of the texts has to be given whole"
        except NotStreamableError as refusal:
            tokens = str(refusal).partition(";")[0]
    try:
        return without_strings(model, replace(options, max_length=DEFAULT_LENGTH))
    except NotStreamableError as refusal:
        raise NotStreamableError(f"{tokens}, and {refusal}") from refusal


def without_strings(model: Any, options: Options) -> tuple[Any, TextInputs, Options]:
    """The model without its string layers, their tables, and its options; other models are returned unchanged.

    Raises:
        NotStreamableError: strings go into anything but one layer of these kinds that gives ids.
        InputError: max_length is given for texts that have a length already.
    """
    if not isinstance(model, keras.Model) or not model.built:
        return model, TextInputs({}), options
    if not is_graph(model) and not any(isinstance(layer, _LAYERS) for layer in layers_of(model)):
        return model, TextInputs({}), options
    function = functional(model)
    calls = _calls(function)
    if not calls:
        return model, TextInputs({}), options
    tables = {name: _table(call.operation, options) for name, call in calls.items()}
    texts = [table for table in tables.values() if isinstance(table, TextTable)]
    padded = any(not table.cut for table in texts)
    if options.max_length and texts and not padded:
        raise InputError("max_length is given, but the texts have a length: output_sequence_length; leave it out")
    body = _body(function, calls, tables)
    if padded:
        tokens = {name: replace(t, length=None) if isinstance(t, TextTable) else t for name, t in tables.items()}
        _compare(_body(function, calls, tokens), body, tables)
    if any(table.length is not None for table in texts):
        options = replace(options, window=1, max_length=0)
    return body, TextInputs(tables, any(table.length is None for table in texts)), options


def _calls(function: Any) -> dict[str, Any]:
    """The calls that strings go into, by input."""
    calls = {}
    for tensor in function.inputs:
        readers = [node for node in nodes(function) if any(item is tensor for item in node.input_tensors)]
        kinds = [type(node.operation).__name__ for node in readers]
        known = len(readers) == 1 and isinstance(readers[0].operation, _LAYERS)
        if known and keras.backend.standardize_dtype(tensor.dtype)[:3] not in ("int", "uin"):
            calls[tensor.name] = readers[0]
        elif keras.backend.standardize_dtype(tensor.dtype) == "string":
            raise NotStreamableError(
                f"input {tensor.name!r} holds strings that go into {' and '.join(kinds) or 'no layer'}, a stream takes "
                "those of one StringLookup, Hashing or TextVectorization; begin the model with one of them, or with ids"
            )
    return calls


def _body(function: Any, calls: dict[str, Any], tables: dict[str, Table]) -> Any:
    """The graph from the ids on."""
    values: dict[int, Any] = {}
    inputs = []
    for tensor in function.inputs:
        table, shape, dtype = tables.get(tensor.name), tensor.shape, tensor.dtype
        if table is not None:
            dtype = "int32"  # clients in browsers and on microcontrollers take no other integers
        if isinstance(table, TextTable):
            length = calls[tensor.name].operation._output_sequence_length
            shape = (shape[0], length) if table.length is None else (shape[0], 1, table.length)
        inputs.append(keras.Input(batch_shape=shape, dtype=dtype, name=tensor.name))
        if table is None:
            values[id(tensor)] = inputs[-1]
        else:
            ids = (
                inputs[-1]
                if len(shape) < 3 or not isinstance(table, TextTable)
                else layers.Reshape(shape[2:])(inputs[-1])
            )
            values[id(calls[tensor.name].outputs[0])] = ids
    for node in nodes(function):
        if all(id(tensor) in values for tensor in node.input_tensors) and id(node.outputs[0]) not in values:
            args, kwargs = node.arguments.fill_in(values)
            outputs = keras.tree.flatten(node.operation(*args, **kwargs))
            values |= dict(zip(map(id, node.outputs), outputs, strict=True))
    outputs = keras.tree.map_structure(lambda tensor: values[id(tensor)], outputs_of(function))
    return keras.Model(keras.tree.pack_sequence_as(inputs_of(function), inputs), outputs, name=function.name)


def _compare(tokens: Any, padded: Any, tables: dict[str, Table]) -> None:
    """Refuse a model that sees the zeros behind a text."""
    generator = np.random.default_rng(0)
    for share in (0.01, 0.5, 1.0):
        given = drawn_inputs(padded)
        alone = drawn_inputs(tokens)
        for place, tensor in enumerate(padded.inputs):
            table = tables.get(tensor.name)
            if isinstance(table, TextTable) and table.length is not None:
                used = max(1, int(share * table.length))
                ids = generator.integers(1, max(2, len(table.lookup.words)), (2, used))
                alone[place] = keras.ops.convert_to_tensor(ids, "int32")
                row = np.pad(ids, [(0, 0), (0, table.length - used)])
                given[place] = keras.ops.convert_to_tensor(row[:, None], "int32")
            else:
                alone[place] = given[place]
        results = [
            keras.tree.flatten(graph(keras.tree.pack_sequence_as(inputs_of(graph), values), training=False))
            for graph, values in ((tokens, alone), (padded, given))
        ]
        for wanted, got in zip(*map(_arrays, results), strict=True):
            if wanted.shape != got.shape or not np.allclose(wanted, got, 1e-4, 1e-5):
                raise NotStreamableError(
                    "the model gives other values for a text with zeros behind it, as max_length has them; build its "
                    "Embedding with mask_zero=True, or TextVectorization with output_sequence_length"
                )


def _arrays(tensors: list[Any]) -> list[NDArray[Any]]:
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


def _table(layer: Any, options: Options) -> Table:
    """The table of a layer, proven on all of its words and on some that it does not have."""
    make = {layers.StringLookup: _lookup, layers.Hashing: _hashing, layers.TextVectorization: _vectorization}
    table, asked, ids = next(function(layer, options) for kind, function in make.items() if isinstance(layer, kind))
    for text in asked:
        if not np.array_equal(table.ids(np.array([text], object), layer.name, "int64").ravel(), ids(text)):
            raise NotStreamableError(
                f"layer {layer.name!r} ({type(layer).__name__}) gives other ids than its vocabulary says for {text!r}; "
                "begin the model with ids"
            )
    return table


_Proof = tuple[Table, list[str], Callable[[str], NDArray[Any]]]


def _ids_of(layer: Any) -> Callable[[str], NDArray[Any]]:
    return lambda text: keras.ops.convert_to_numpy(layer(np.array([[text]], object))).ravel()


def _only_ids(layer: Any, **more: Any) -> None:
    """Raises NotStreamableError where a layer gives something else than one id for each of its strings."""
    wanted = {"output_mode": "int", **more}
    config = {name: getattr(layer, name, getattr(layer, f"_{name}", None)) for name in wanted}
    if config != wanted:
        came = ", ".join(f"{name}={value!r}" for name, value in config.items())
        expected = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
        raise NotStreamableError(
            f"layer {layer.name!r} ({type(layer).__name__}) has {came}, a stream takes {expected}; "
            "begin the model with ids"
        )


def _lookup(layer: Any, options: Options) -> _Proof:
    _only_ids(layer, invert=False)
    words, count = _vocabulary(layer), layer.num_oov_indices
    first = layer._oov_start_index()
    salt = getattr(layer, "salt", None)
    table = LookupTable(words, first if count == 1 else None)
    if count > 1:
        table = LookupTable(words, None, first, HashTable(count, None, salt and (salt[0], salt[1])))
    others = [*_OTHERS, *(f"{word} " for word in words)] if count else []
    return table, [*words, *others], _ids_of(layer)


def _vocabulary(layer: Any) -> dict[str, int]:
    words: dict[str, int] = {}
    for index, word in enumerate(layer.get_vocabulary()):
        if not (layer.num_oov_indices > 1 and word == layer.oov_token):  # one entry for each of its ids
            words[str(word)] = index
    return words


def _hashing(layer: Any, options: Options) -> _Proof:
    _only_ids(layer)
    masked = None if layer.mask_value is None else str(layer.mask_value)
    table = HashTable(layer.num_bins, masked, layer.salt and (layer.salt[0], layer.salt[1]))
    return table, [*_OTHERS, *([] if masked is None else [masked])], _ids_of(layer)


def _vectorization(layer: Any, options: Options) -> _Proof:
    _only_ids(layer, ragged=False)
    for option in ("standardize", "split"):
        if callable(getattr(layer, f"_{option}")):
            raise NotStreamableError(
                f"layer {layer.name!r} (TextVectorization) has a function as {option}, which no file can hold; "
                "begin the model with ids"
            )
    if layer._ngrams and max(len(layer._ngrams), *layer._ngrams) > MAX_NGRAM:
        raise NotStreamableError(
            f"layer {layer.name!r} (TextVectorization) makes ngrams of {max(layer._ngrams)} tokens, a stream of "
            f"{MAX_NGRAM} at most; begin the model with ids"
        )
    inner, fixed = layer._lookup_layer, layer._output_sequence_length
    tokens = options.window is not None or options.pad is not None or options.hop > 1
    length = None if tokens else fixed or options.max_length or (DEFAULT_LENGTH if layer._ngrams else None)
    if length is None and layer._ngrams:
        raise NotStreamableError(
            f"layer {layer.name!r} (TextVectorization) makes ngrams of the whole text, of which no token is a step; "
            "leave window, hop and pad out: each step then takes a whole text"
        )
    lookup = LookupTable(_vocabulary(inner), inner._oov_start_index())
    table = TextTable(lookup, layer._standardize, layer._split, layer._ngrams, length, fixed is not None)
    ids = _ids_of(layer)
    words = [word for word in lookup.words if word]
    texts = [*_OTHERS, " ".join(words[:20]), " , ".join(words[-9:]).upper(), *words]

    def expected(text: str) -> NDArray[Any]:
        row = ids(text)
        if length is None:  # the layer pads, and cuts, a text of a length
            count = len(table.ids(np.array([text], object), layer.name, "int64"))
            return row[:count] if fixed is None or count <= fixed else table.ids(np.array([text], object), "", "int64")
        return np.pad(row, (0, length - len(row)))

    longest = length if fixed is None and length is not None else None
    return table, [text for text in texts if longest is None or len(ids(text)) <= longest], expected
