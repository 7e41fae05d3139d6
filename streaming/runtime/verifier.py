"""Refuses a flatbuffer that would make an interpreter access memory outside of it, before one sees it.

A checksum detects damage but not malice: whoever forges a file also forges its checksum, and interpreters trust their
input. What is checked: every offset, table, vector and string that a runtime reads, indexes of tensors, buffers,
operations and subgraphs; that each tensor is written once, and before it is read; and of each operation its options,
operands, shapes and types by the rules of `streaming.runtime.operations`. An operation without a rule is refused.
"""

from __future__ import annotations

import math
import struct
from collections import OrderedDict

from streaming.errors import ArtifactError
from streaming.runtime import costs
from streaming.runtime.flatbuffer import (
    DamagedError,
    Flatbuffer,
    Graph,
    Operation,
    Table,
    Tensor,
    check,
    read_flatbuffer,
)
from streaming.runtime.operations import OPERATIONS, bounds
from streaming.runtime.operations.call import MAX_TENSOR_BYTES, Bounds, Call, Shape

# All tensors of a graph together, and the multiply-adds of one invoke: what needs more runs for minutes.
MAX_GRAPH_BYTES = 2**33
MAX_MULTIPLY_ADDS = 2**40
_SCHEMA_VERSION = 3
# Bytes of one element, by the number of TensorType; string, resource and variant have no size of their own, int4 half.
_ITEM_BYTES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 15: 4, 16: 2, 18: 2}
_UNSIZED = frozenset({5, 13, 14, 17})
# Operation -> fields of its options that number a subgraph.
_CALLS = {"WHILE": (0, 1), "IF": (0, 1), "CALL_ONCE": (0,), "CALL": (0,)}
_OFFSET_FREE = 2  # buffers with a smaller offset hold their data in the flatbuffer
_KEEPS = frozenset({"SVDF"})
_VISITS = 64  # how often an operation may be verified, called from here and there
_REMEMBERED = 256

_verified: OrderedDict[str, None] = OrderedDict()


def verify(content: bytes, digest: str | None = None, *, trust: bool = False) -> None:
    """Raises ArtifactError unless everything that a runtime reads of a flatbuffer is inside it and consistent.

    Args:
        content: the flatbuffer.
        digest: SHA-256 of the flatbuffer or of its whole file, if known; a digest that passed once is not verified
            again.
        trust: skip the rules of operations, so that any operation with any options passes.
    """
    if digest in _verified:
        return
    flatbuffer = read_flatbuffer(content)
    try:
        _verify_structure(flatbuffer)
    except (DamagedError, struct.error, UnicodeDecodeError) as error:
        raise ArtifactError(f"the TFLite model is damaged ({error}); copy or convert it again") from error
    if trust:
        return
    _verify_operations(content, flatbuffer)
    if digest is not None:
        _verified[digest] = None
        if len(_verified) > _REMEMBERED:
            _verified.popitem(last=False)


def _verify_structure(flatbuffer: Flatbuffer) -> None:
    model = flatbuffer.model
    version = model.integer(0, "<I")
    check(version == _SCHEMA_VERSION, f"its schema has version {version}, expected {_SCHEMA_VERSION}")
    check(bool(flatbuffer.graphs), "it holds no graph")
    sizes = [_buffer(buffer) for buffer in model.tables(4)]
    check(not sizes or sizes[0] == 0, "the first buffer is not empty")
    calls = [
        _graph(table, graph, len(flatbuffer.graphs))
        for table, graph in zip(model.tables(2), flatbuffer.graphs, strict=True)
    ]
    _check_calls(calls)
    for entry in model.tables(6):
        entry.text(0)
        check(entry.integer(1, "<I") < len(sizes), "metadata name a buffer that is absent")
    for signature in model.tables(7):
        _signature(signature, flatbuffer)


def _buffer(buffer: Table) -> int:
    check(buffer.integer(1, "<Q") < _OFFSET_FREE, "a buffer lies behind the flatbuffer")
    return buffer.vector(0, 1)[1]


def _graph(table: Table, graph: Graph, graphs: int) -> list[int]:
    """Check a subgraph; the subgraphs that it calls."""
    table.text(4)
    for indexes in (graph.inputs, graph.outputs):
        for index in indexes:
            check(0 <= index < len(graph.tensors), f"a subgraph takes or gives tensor {index} of {len(graph.tensors)}")
    for tensor in graph.tensors:
        _tensor(tensor)
    calls: list[int] = []
    for operation in graph.operations:
        name, options = operation.name, operation.options
        check(all(index >= 0 for index in operation.outputs), f"{name} has no output tensor")
        check(not operation.table.vector(8, 4)[1], f"{name} has intermediate tensors")
        for field in (5, 7):
            operation.table.vector(field, 1)
        if name in _CALLS:
            check(options is not None, f"{name} names no subgraph")
            assert options is not None
            calls += [options.integer(field, "<i") for field in _CALLS[name]]
    check(all(0 <= number < graphs for number in calls), f"a subgraph calls one of {sorted(set(calls))}, of {graphs}")
    return calls


def _tensor(tensor: Tensor) -> None:
    kind, shape, table, quantization = tensor.kind, tensor.shape, tensor.table, tensor.quantization
    assert table is not None
    check(kind in _ITEM_BYTES or kind in _UNSIZED, f"a tensor has type {kind}")
    check(table.table(6) is None, "a tensor is sparse")
    table.text(3)
    needed = 1
    for size in shape:
        check(size >= 0, f"a tensor has shape {shape}")
        needed *= size
    needed *= _ITEM_BYTES.get(kind, 1)
    check(needed <= MAX_TENSOR_BYTES, f"a tensor of shape {shape} has {needed} bytes")
    if tensor.constant_bytes and kind in _ITEM_BYTES:
        check(
            tensor.constant_bytes == needed,
            f"a constant of shape {shape} has {tensor.constant_bytes} bytes, not {needed}",
        )
    if quantization is not None and quantization.table is not None:
        for field in (0, 1):
            quantization.table.vector(field, 4)
        scales, zeros, axis = len(quantization.scales), len(quantization.zeros), quantization.axis
        check(quantization.table.integer(4, "<B") == 0, "a tensor has custom quantization")
        check(zeros in (0, 1, scales), f"a tensor has {scales} scales and {zeros} zero points")
        right = scales <= 1 or (0 <= axis < len(shape) and shape[axis] == scales)
        check(right, f"{scales} scales along axis {axis} of {shape}")


def _signature(table: Table, flatbuffer: Flatbuffer) -> None:
    graph = flatbuffer.graphs[table.integer(4, "<I")]
    for field, indexes in ((0, graph.inputs), (1, graph.outputs)):
        places: list[int] = []
        names: list[str] = []
        for entry in table.tables(field):
            index, name = entry.integer(1, "<I"), entry.text(0)
            check(index < len(graph.tensors), f"signature tensor {name!r} is {index} of {len(graph.tensors)}")
            places.append(index)
            names.append(name)
        check(
            len(set(names)) == len(names) and "" not in names,
            "two tensors of a signature have one name, or one has none",
        )
        if field == 0:
            check(sorted(places) == sorted(indexes), "a signature names other inputs than its graph takes")
        else:
            check(set(places) <= set(indexes), "a signature names other outputs than its graph gives")


def _check_calls(calls: list[list[int]]) -> None:
    """No subgraph may come to call itself."""
    finished: set[int] = set()
    while True:
        ready = {i for i, called in enumerate(calls) if i not in finished and finished.issuperset(called)}
        if not ready:
            break
        finished |= ready
    check(len(finished) == len(calls), "a subgraph calls itself")


def _verify_operations(content: bytes, flatbuffer: Flatbuffer) -> None:
    names = {operation.name for graph in flatbuffer.graphs for operation in graph.operations}
    if unknown := sorted(names - OPERATIONS.keys()):
        raise ArtifactError(
            f"the model holds the operation {unknown[0]}, which is not verified; convert it again, or load it with "
            "trust=True if you trust whoever made the file"
        )
    model = _Model(content, flatbuffer)
    try:
        # Graphs that others call come with what they are called with; the rest with what they say themselves.
        for index in [*flatbuffer.signatures.values(), *range(len(flatbuffer.graphs))]:
            if index not in model.seen:
                model.run_alone(index)
    except (DamagedError, struct.error, ValueError, IndexError, OverflowError) as error:
        raise ArtifactError(
            f"the TFLite model is damaged ({error}); copy or convert it again, or load it with trust=True if you trust "
            "whoever made the file"
        ) from error


class _Model:
    """The graphs of a model, run on shapes instead of numbers."""

    def __init__(self, content: bytes, flatbuffer: Flatbuffer) -> None:
        self.graphs = flatbuffer.graphs
        self.variables: dict[str, tuple[Shape, int]] = {}
        self.assigned: set[str] = set()
        self.seen: set[int] = set()
        self._content, self._times, self._adds = content, 1, 0
        self._visits = _VISITS * sum(len(graph.operations) for graph in flatbuffer.graphs)

    def run_alone(self, index: int) -> None:
        """Verify a graph that no other graph calls, with its own shapes."""
        inputs = [self.graphs[index].tensors[place] for place in self.graphs[index].inputs]
        self._adds = 0
        self.assigned.clear()
        self.run(index, [item.shape for item in inputs], [item.kind for item in inputs], [None] * len(inputs))

    def run(
        self, index: int, shapes: list[Shape], kinds: list[int], limits: list[Bounds | None], times: int = 1
    ) -> tuple[list[Shape], list[int]]:
        """Verify a subgraph called so many times with such tensors; returns the shapes and types of its outputs."""
        graph = self.graphs[index]
        self.seen.add(index)
        check(kinds == [graph.tensors[place].kind for place in graph.inputs], "a graph is called with other types")
        call = Call(self._content, self, graph, [tensor.shape for tensor in graph.tensors])
        for place, shape, limit in zip(graph.inputs, shapes, limits, strict=True):
            check(
                bool(graph.tensors[place].unknown) or graph.tensors[place].shape == shape, "a graph takes other shapes"
            )
            call.shapes[place] = shape
            if limit is not None:
                call.bounds[place] = limit
        before, self._times = self._times, self._times * max(times, 1)
        self._operations(call, graph)
        self._times = before
        return [call.shapes[place] for place in graph.outputs], [graph.tensors[place].kind for place in graph.outputs]

    def _operations(self, call: Call, graph: Graph) -> None:
        tensors = graph.tensors
        fixed = [tensor.constant_bytes > 0 or 0 in tensor.shape for tensor in tensors]
        # Memory that an operation keeps for itself is there from the beginning.
        there = [right or tensor.is_variable for right, tensor in zip(fixed, tensors, strict=True)]
        check(len(set(graph.inputs)) == len(graph.inputs), "a graph takes a tensor twice")
        for place in graph.inputs:
            check(not tensors[place].constant_bytes, "a graph takes a constant")
            there[place] = fixed[place] = True
        for operation in graph.operations:
            self._visits -= 1
            check(self._visits >= 0, "its subgraphs call each other too often")
            _check_options(operation)
            for index in operation.inputs:
                check(index < 0 or there[index], f"{operation.name} reads a tensor that nothing has written")
                kept = index >= 0 and tensors[index].is_variable
                check(not kept or operation.name in _KEEPS, f"{operation.name} reads the memory of another operation")
            for index in operation.outputs:
                free = not fixed[index] or (0 in tensors[index].shape and not tensors[index].constant_bytes)
                check(free and not tensors[index].is_variable, f"{operation.name} writes a tensor that is not free")
                there[index] = fixed[index] = True
            OPERATIONS[operation.name].rule(call.of(operation))
            bounds.follow(call)
            self._adds += self._times * costs.multiply_adds(operation, graph)
        check(self._adds <= MAX_MULTIPLY_ADDS, f"an invoke takes {self._adds} multiply-adds")
        for index in graph.outputs:
            check(there[index], "a graph gives a tensor that nothing has written")
        total = sum(
            math.prod(shape) * _ITEM_BYTES.get(tensor.kind, 1)
            for shape, tensor in zip(call.shapes, tensors, strict=True)
            if not tensor.constant_bytes
        )
        check(total <= MAX_GRAPH_BYTES, f"its tensors take {total} bytes")


def _check_options(operation: Operation) -> None:
    """The options are those of the operation: an interpreter takes others for none, and runs on zeros."""
    entry, kind, name = OPERATIONS[operation.name], operation.table.integer(3, "<B"), operation.name
    if operation.options is None:
        check(not entry.needs_options, f"{name} has no options")
    else:
        check(kind in (entry.options, 0), f"{name} has the options of another operation")
        check(kind != 0 or not entry.needs_options, f"{name} has no options")
    check(not operation.table.vector(5, 1)[1] and not operation.table.integer(11, "<B"), f"{name} has foreign options")
