"""The table of TFLite Metadata (`TFLITE_METADATA`), with the names and files that other tools show.

Field numbers are those of TFLite Support's public metadata_schema.fbs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import flatbuffers

ENTRY = "TFLITE_METADATA"
_MARK = b"M001"
# Kinds of associated files, by what a name ends with.
_AXIS_LABELS, _VOCABULARY = 2, 5
_KINDS = {"labels.txt": _AXIS_LABELS, "words.txt": _VOCABULARY}
# The first version of the schema that has all that is written here.
_MIN_PARSER = "1.2.1"

Tensors = Sequence[str]


def build(name: str, graphs: Sequence[tuple[str, Tensors, Tensors]], files: Iterable[str]) -> bytes:
    """The table as bytes.

    Args:
        name: of the model.
        graphs: for each subgraph, in order, its signature, and its inputs and outputs by name in the order of the
            subgraph.
        files: names of the files in the appended zip; labels belong to the first output of the first subgraph.
    """
    builder = flatbuffers.Builder(1024)
    kinds = {item: next((kind for end, kind in _KINDS.items() if item.endswith(end)), 0) for item in files}
    labels = [_file(builder, item, kind) for item, kind in kinds.items() if kind == _AXIS_LABELS]
    others = [_file(builder, item, kind) for item, kind in kinds.items() if kind != _AXIS_LABELS]
    tables = []
    for place, (signature, inputs, outputs) in enumerate(graphs):
        taken = [_table(builder, {0: builder.CreateString(item)}) for item in inputs]
        given = []
        for index, item in enumerate(outputs):
            fields = {0: builder.CreateString(item)}
            if labels and place == index == 0:
                fields[6] = _vector(builder, labels)
            given.append(_table(builder, fields))
        fields = {0: builder.CreateString(signature), 2: _vector(builder, taken), 3: _vector(builder, given)}
        tables.append(_table(builder, fields))
    fields = {0: builder.CreateString(name), 3: _vector(builder, tables), 7: builder.CreateString(_MIN_PARSER)}
    fields[1] = builder.CreateString("a streaming model; the entry streaming.json says how to run it")
    if others:
        fields[6] = _vector(builder, others)
    builder.Finish(_table(builder, fields), _MARK)
    return bytes(builder.Output())


def _file(builder: Any, name: str, kind: int) -> int:
    text = builder.CreateString(name)
    builder.StartObject(5)
    builder.PrependUOffsetTRelativeSlot(0, text, 0)
    builder.PrependInt8Slot(2, kind, 0)
    return builder.EndObject()


def _table(builder: Any, fields: dict[int, int]) -> int:
    """A table of offsets by the numbers of their fields."""
    builder.StartObject(max(fields) + 1)
    for number, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(number, offset, 0)
    return builder.EndObject()


def _vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
