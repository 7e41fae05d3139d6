"""Refuses a flatbuffer that would lead an interpreter outside of it, before an interpreter sees it.

A checksum tells damage, not intent: whoever forges a file forges its checksum too, and not every runtime looks before
it follows an offset. What is checked: every offset, table, vector and string that a runtime reads, indexes of tensors,
buffers, operations and subgraphs, calls between subgraphs, shapes against the bytes that they need. What a kernel makes
of its options and constants is left to the kernel.
"""

from __future__ import annotations

import math
import struct

from streaming.errors import ArtifactError
from streaming.runtime.flatbuffer import DamagedError, Flatbuffer, Graph, Source, Table, check, read

MAX_TENSOR_BYTES = 2**31 - 1
_SCHEMA_VERSION = 3
# Bytes of one element, by the number of TensorType; string, resource and variant have no size of their own, int4 half.
_ITEM_BYTES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 15: 4, 16: 2, 18: 2}
_UNSIZED = frozenset({5, 13, 14, 17})
# Operation -> (fields of its options that are vectors, bytes of an item), and fields that number a subgraph.
_VECTORS = {"RESHAPE": ((0, 4),), "SQUEEZE": ((0, 4),), "VAR_HANDLE": ((0, 1), (1, 1)), "BUCKETIZE": ((0, 4),)}
_CALLS = {"WHILE": (0, 1), "IF": (0, 1), "CALL_ONCE": (0,), "CALL": (0,)}
# Fewest inputs of operations; one for those that are not here. Kernels and delegates take them without a look.
_INPUTS = {
    **dict.fromkeys(("VAR_HANDLE", "CALL_ONCE", "IF", "WHILE", "CALL", "CUSTOM"), 0),
    **dict.fromkeys(
        "ADD SUB MUL DIV FLOOR_DIV FLOOR_MOD MAXIMUM MINIMUM POW SQUARED_DIFFERENCE EQUAL NOT_EQUAL LESS LESS_EQUAL "
        "GREATER GREATER_EQUAL LOGICAL_AND LOGICAL_OR PRELU ATAN2 GATHER GATHER_ND BATCH_MATMUL FULLY_CONNECTED "
        "CONV_2D CONV_3D DEPTHWISE_CONV_2D TRANSPOSE PAD MIRROR_PAD EXPAND_DIMS TILE FILL MEAN SUM REDUCE_PROD "
        "REDUCE_MAX REDUCE_MIN REDUCE_ANY REDUCE_ALL ARG_MAX ARG_MIN TOPK_V2 SPLIT CUMSUM BROADCAST_TO REVERSE_V2 "
        "ASSIGN_VARIABLE EMBEDDING_LOOKUP RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR".split(),
        2,
    ),
    **dict.fromkeys(
        "SELECT SELECT_V2 SLICE PADV2 SPLIT_V TRANSPOSE_CONV CONV_3D_TRANSPOSE RANGE BATCH_TO_SPACE_ND "
        "SPACE_TO_BATCH_ND SCATTER_ND DYNAMIC_UPDATE_SLICE SEGMENT_SUM UNSORTED_SEGMENT_SUM".split(),
        3,
    ),
    **dict.fromkeys(("STRIDED_SLICE", "ONE_HOT"), 4),
}
_SILENT = frozenset({"ASSIGN_VARIABLE", "CALL_ONCE", "IF", "WHILE", "CALL", "CUSTOM"})
_OFFSET_FREE = 2  # buffers with a smaller offset hold their data in the flatbuffer


def verify(content: bytes) -> None:
    """Raises ArtifactError unless all of a flatbuffer that a runtime follows lies inside it and agrees."""
    found = read(content)
    try:
        _verify(content, found)
    except (DamagedError, struct.error, UnicodeDecodeError) as error:
        raise ArtifactError(f"the TFLite model is damaged ({error}); copy or convert it again") from error


def _verify(content: bytes, found: Flatbuffer) -> None:
    source = Source(content)
    model = Table(source, source.follow(0))
    model.check_fields()
    version = model.integer(0, "<I")
    check(version == _SCHEMA_VERSION, f"its schema has version {version}, expected {_SCHEMA_VERSION}")
    for code in model.tables(1):
        code.check_fields()
    sizes = [_buffer(buffer) for buffer in model.tables(4)]
    check(not sizes or sizes[0] == 0, "the first buffer is not empty")
    names = [[operation.name for operation in graph.operations] for graph in found.graphs]
    calls = [
        _graph(table, graph, names[number], len(found.graphs))
        for number, (table, graph) in enumerate(zip(model.tables(2), found.graphs, strict=True))
    ]
    _check_calls(calls)
    for entry in model.tables(6):
        entry.check_fields()
        entry.text(0)
        check(entry.integer(1, "<I") < len(sizes), "metadata name a buffer that is absent")
    for signature in model.tables(7):
        _signature(signature, found)


def _buffer(buffer: Table) -> int:
    buffer.check_fields()
    check(buffer.integer(1, "<Q") < _OFFSET_FREE, "a buffer lies behind the flatbuffer")
    return buffer.vector(0, 1)[1]


def _graph(table: Table, graph: Graph, names: list[str], graphs: int) -> list[int]:
    """Check a subgraph; the subgraphs that it calls."""
    table.check_fields()
    table.text(4)
    for field in (1, 2):
        for index in table.integers(field):
            check(0 <= index < len(graph.tensors), f"a subgraph takes or gives tensor {index} of {len(graph.tensors)}")
    for tensor, info in zip(table.tables(0), graph.tensors, strict=True):
        _tensor(tensor, info.shape, info.constant_bytes)
    calls: list[int] = []
    for operation, name in zip(table.tables(3), names, strict=True):
        operation.check_fields()
        inputs, outputs = operation.integers(1), operation.integers(2)
        check(len(inputs) >= _INPUTS.get(name, 1), f"{name} has {len(inputs)} inputs")
        check(all(index >= 0 for index in inputs[: _INPUTS.get(name, 1)]), f"{name} lacks an input tensor")
        check(all(index >= 0 for index in outputs), f"{name} has no output tensor")
        check(bool(outputs) or name in _SILENT, f"{name} has no output tensor")
        check(not operation.vector(8, 4)[1], f"{name} has intermediate tensors")
        for field in (5, 7):
            operation.vector(field, 1)
        options = operation.table(4)
        if options is not None:
            options.check_fields()
            for field, item in _VECTORS.get(name, ()):
                options.vector(field, item)
            calls += [options.integer(field, "<i") for field in _CALLS.get(name, ())]
        else:
            check(name not in _CALLS, f"{name} names no subgraph")
    check(all(0 <= number < graphs for number in calls), f"a subgraph calls one of {sorted(set(calls))}, of {graphs}")
    return calls


def _tensor(tensor: Table, shape: tuple[int, ...], constant_bytes: int) -> None:
    tensor.check_fields()
    kind = tensor.integer(1, "<b")
    check(kind in _ITEM_BYTES or kind in _UNSIZED, f"a tensor has type {kind}")
    check(tensor.table(6) is None, "a tensor is sparse")
    check(all(size >= 0 for size in shape), f"a tensor has shape {shape}")
    tensor.text(3)
    tensor.integers(7)
    needed = math.prod(shape) * _ITEM_BYTES.get(kind, 1)
    check(needed <= MAX_TENSOR_BYTES, f"a tensor of shape {shape} has {needed} bytes")
    if constant_bytes and kind in _ITEM_BYTES:
        check(constant_bytes == needed, f"a constant of shape {shape} has {constant_bytes} bytes, not {needed}")
    quantization = tensor.table(4)
    if quantization is not None:
        _quantization(quantization, shape)


def _quantization(table: Table, shape: tuple[int, ...]) -> None:
    table.check_fields()
    for field in (0, 1):
        table.vector(field, 4)
    scales, zeros = table.vector(2, 4)[1], table.vector(3, 8)[1]
    check(table.integer(4, "<B") == 0, "a tensor has custom quantization")
    check(zeros in (0, 1, scales), f"a tensor has {scales} scales and {zeros} zero points")
    if scales > 1:
        axis = table.integer(6, "<i")
        check(0 <= axis < len(shape) and shape[axis] == scales, f"{scales} scales along axis {axis} of {shape}")


def _signature(table: Table, found: Flatbuffer) -> None:
    table.check_fields()
    graph = found.graphs[table.integer(4, "<I")]
    for field in (0, 1):
        for entry in table.tables(field):
            entry.check_fields()
            index = entry.integer(1, "<I")
            check(index < len(graph.tensors), f"signature tensor {entry.text(0)!r} is {index} of {len(graph.tensors)}")


def _check_calls(calls: list[list[int]]) -> None:
    """No subgraph may come to call itself."""
    finished: set[int] = set()
    while True:
        ready = {i for i, called in enumerate(calls) if i not in finished and finished.issuperset(called)}
        if not ready:
            break
        finished |= ready
    check(len(finished) == len(calls), "a subgraph calls itself")
