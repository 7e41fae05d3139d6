"""The last edits of a flatbuffer: moves `step` to the front, and adds metadata entries for clients and tools.

The computation does not change. Needs the schema module of TensorFlow or of LiteRT, whichever the caller has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import flatbuffers
import numpy as np

from streaming.conversion import tool_metadata
from streaming.runtime.artifact import METADATA_FILE
from streaming.runtime.flatbuffer import metadata_entry

FIRST = b"step"
# Field of the options -> of operations that run other subgraphs.
_CALLS = ("condSubgraphIndex", "bodySubgraphIndex", "thenSubgraphIndex", "elseSubgraphIndex", "initSubgraphIndex")
# Constants begin at multiples of this, as the schema demands; the Python builder aligns bytes to one.
_ALIGNMENT = 16


class _Builder(flatbuffers.Builder):
    """Aligns vectors of bytes as TFLite's constants."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803 - flatbuffers' names
        return super().StartVector(elemSize, numElems, _ALIGNMENT if elemSize == 1 else alignment)


def finish(model: Any, schema: Any, name: str, files: Iterable[str] = ()) -> bytes:
    """The bytes of a model whose first subgraph is `step`; they end with an empty entry for `streaming.json`.

    Args:
        model: `ModelT` of the schema.
        schema: the module of generated classes.
        name: of the model.
        files: names of its associated files.
    """
    _put_first(model, next(item.subgraphIndex for item in model.signatureDefs if item.signatureKey == FIRST))
    entries = {tool_metadata.ENTRY: tool_metadata.build(name, _named(model), files), METADATA_FILE: b""}
    model.metadata = [item for item in model.metadata or [] if item.name.decode() not in entries]
    for key, content in entries.items():
        model.metadata.append(schema.MetadataT(name=key.encode(), buffer=len(model.buffers)))
        model.buffers.append(schema.BufferT(data=np.frombuffer(content, np.uint8)))
    builder = _Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return _with_last_entry(bytes(builder.Output()))


def _put_first(model: Any, place: int) -> None:
    """Exchange a subgraph and the first one, wherever they are numbered."""
    if place == 0:
        return
    graphs, moved = model.subgraphs, {0: place, place: 0}
    graphs[0], graphs[place] = graphs[place], graphs[0]
    for signature in model.signatureDefs:
        signature.subgraphIndex = moved.get(signature.subgraphIndex, signature.subgraphIndex)
    for operator in (operator for graph in graphs for operator in graph.operators or ()):
        options = operator.builtinOptions
        for field in (*_CALLS, "subgraph"):
            number = getattr(options, field, None)
            if number is not None:
                setattr(options, field, moved.get(number, number))


def _named(model: Any) -> list[tuple[str, list[str], list[str]]]:
    """Of each subgraph the signature that it is of, and its inputs and outputs by name in their order."""
    signatures = {item.subgraphIndex: item for item in model.signatureDefs}
    named = []
    for place, graph in enumerate(model.subgraphs):
        item = signatures.get(place)
        names: list[list[str]] = []
        for indexes, entries in ((graph.inputs, item and item.inputs), (graph.outputs, item and item.outputs)):
            known = {entry.tensorIndex: entry.name.decode() for entry in entries or ()}
            places = [] if indexes is None else [int(index) for index in indexes]
            names.append([known.get(index) or (graph.tensors[index].name or b"").decode() for index in places])
        named.append((item.signatureKey.decode() if item else "", names[0], names[1]))
    return named


def _with_last_entry(flatbuffer: bytes) -> bytes:
    """Let the entry of `streaming.json` lie at the very end, where its content can grow without moving anything."""
    entry = metadata_entry(flatbuffer, METADATA_FILE)
    assert entry is not None
    field = entry[0]
    padding = bytes(-(len(flatbuffer) + 4) % _ALIGNMENT)
    content = bytearray(flatbuffer + padding + struct.pack("<I", 0))
    struct.pack_into("<I", content, field, len(content) - 4 - field)
    return bytes(content)
