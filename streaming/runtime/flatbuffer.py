"""Reads a TFLite flatbuffer as far as its costs depend on it: signatures, operations, shapes, sizes of weights.

Only numpy is needed, every offset is checked before it is followed, and the work is bounded by the size of the file,
so that a damaged or forged one ends in an ArtifactError. Field numbers are those of TensorFlow Lite's public
schema.fbs; the layout is https://flatbuffers.dev/internals.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from streaming.errors import ArtifactError

# Names of BuiltinOperator in the schema, in the order of their numbers; all later ones are StableHLO's.
BUILTIN_NAMES = (
    "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR "
    "FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC "
    "LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH "
    "SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN "
    "GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM "
    "STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM "
    "CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN "
    "TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN "
    "FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV "
    "REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE "
    "MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG "
    "QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND "
    "SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO "
    "RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL "
    "CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE "
    "RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX "
    "UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN"
).split()
_CUSTOM = BUILTIN_NAMES.index("CUSTOM")
# No sound file reads a byte more often than this: vectors are written once, vtables are shared.
_MAX_READS = 16
_UNPACK = {
    kind: (struct.Struct(kind).unpack_from, struct.calcsize(kind))
    for kind in ("<b", "<B", "<H", "<i", "<I", "<Q", "<f")
}


class Quantization(NamedTuple):
    """real = scale * (number - zero): one scale for all, or one for each index along an axis."""

    scales: tuple[float, ...]
    zeros: tuple[int, ...]
    axis: int
    table: Table | None = None


class Tensor(NamedTuple):
    """shape, with -1 for unknown sizes; bytes of constant data, and the number of the buffer that holds them.

    word: constant data of four bytes as a whole number, otherwise None;
    kind: the number of its TensorType; begin: where constant data begin in the flatbuffer;
    unknown: sizes as the converter knew them, -1 where it did not; empty where it knew all;
    table: its own.
    """

    shape: tuple[int, ...]
    constant_bytes: int
    buffer: int
    word: int | None = None
    kind: int = 0
    begin: int = 0
    unknown: tuple[int, ...] = ()
    quantization: Quantization | None = None
    is_variable: bool = False
    table: Table | None = None


class Operation(NamedTuple):
    """One operation with the numbers of its tensors; an optional input that is absent is -1.

    options: its table of builtin options; table: its own.
    """

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None
    table: Table

    @property
    def transposed(self) -> bool:
        """For BATCH_MATMUL, whether the first operand is."""
        return self.name == "BATCH_MATMUL" and self.options is not None and bool(self.options.integer(0, "<B"))

    @property
    def loop(self) -> tuple[int, int] | None:
        """For WHILE, the subgraphs of its condition and of its body."""
        if self.name != "WHILE" or self.options is None:
            return None
        return self.options.integer(0, "<i"), self.options.integer(1, "<i")


class Graph(NamedTuple):
    """The tensors and operations of one subgraph, and the numbers of the tensors that it takes and gives."""

    tensors: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Flatbuffer:
    """graphs: all subgraphs; signatures: name -> number of its graph; model: the table of all."""

    graphs: tuple[Graph, ...]
    signatures: dict[str, int]
    model: Table


def read_flatbuffer(content: bytes) -> Flatbuffer:
    """Read a flatbuffer; raises ArtifactError where it is not one, or contradicts itself."""
    try:
        return _read(content)
    except (DamagedError, struct.error, UnicodeDecodeError) as error:
        raise ArtifactError(f"the TFLite model is damaged ({error}); copy or convert it again") from error


def metadata_entry(content: bytes, name: str) -> tuple[int, int, int] | None:
    """The position of a metadata entry: of the offset to its data, of their first byte, and their number.

    None where there is no such entry. Raises ArtifactError where the flatbuffer is damaged.
    """
    try:
        source = Source(content)
        model = Table(source, source.follow(0))
        places = [entry.integer(1, "<I") for entry in model.tables(6) if entry.text(0) == name]
        if not places:
            return None
        check(places[0] < model.vector(4, 4)[1], "metadata name a buffer that is absent")
        buffer = model.tables(4)[places[0]]
        field = buffer.place(0)
        check(field is not None, "a metadata entry has no data")
        assert field is not None
        return field, *buffer.vector(0, 1)
    except (DamagedError, struct.error, UnicodeDecodeError) as error:
        raise ArtifactError(f"the TFLite model is damaged ({error}); copy or convert it again") from error


def _read(content: bytes) -> Flatbuffer:
    check(content[4:8] == b"TFL3", "it has no TFL3 mark")
    source = Source(content)
    model = Table(source, source.follow(0))
    codes = [_operation_code(code) for code in model.tables(1)]
    buffers = [_buffer(buffer) for buffer in model.tables(4)]
    graphs = tuple(_graph(graph, codes, buffers) for graph in model.tables(2))
    for operation in (operation for graph in graphs for operation in graph.operations if operation.name == "WHILE"):
        for number in operation.loop or ():
            check(0 <= number < len(graphs), f"a loop runs graph {number} of {len(graphs)}")
    signatures = {table.text(2): table.integer(4, "<I") for table in model.tables(7)}
    check(len(signatures) == model.vector(7, 4)[1], "two signatures have one name")
    for name, number in signatures.items():
        check(number < len(graphs), f"signature {name!r} has graph {number} of {len(graphs)}")
    return Flatbuffer(graphs, signatures, model)


def _operation_code(code: Table) -> tuple[str, int]:
    # Old converters write the deprecated 8-bit field alone; the larger of the two is the operation.
    number = max(code.integer(0, "<b"), code.integer(3, "<i"))
    check(number >= 0, f"operation {number}")
    name = BUILTIN_NAMES[number] if number < len(BUILTIN_NAMES) else f"operation {number}"
    return (code.text(1) or name) if number == _CUSTOM else name, code.integer(2, "<i", 1)


def _buffer(buffer: Table) -> tuple[int, int, int | None]:
    """Bytes of data, where they begin, and the number where they are four."""
    begin, count = buffer.vector(0, 1)
    word = buffer.source.number(begin, "<i") if count == 4 else None
    return count or buffer.integer(2, "<Q"), begin, word


def _graph(graph: Table, codes: list[tuple[str, int]], buffers: list[tuple[int, int, int | None]]) -> Graph:
    tensors = tuple(_tensor(tensor, buffers) for tensor in graph.tables(0))
    operations = []
    for table in graph.tables(3):
        number = table.integer(0, "<I")
        check(number < len(codes), f"an operation has code {number} of {len(codes)}")
        name, version = codes[number]
        inputs, outputs = table.integers(1), table.integers(2)
        for index in (*inputs, *outputs):
            check(-1 <= index < len(tensors), f"{name} takes tensor {index} of {len(tensors)}")
        operations.append(Operation(name, version, inputs, outputs, table.table(4), table))
    return Graph(tensors, tuple(operations), graph.integers(1), graph.integers(2))


def _tensor(tensor: Table, buffers: list[tuple[int, int, int | None]]) -> Tensor:
    number = tensor.integer(2, "<I")
    check(number < len(buffers), f"a tensor has buffer {number} of {len(buffers)}")
    size, begin, word = buffers[number]
    shape, unknown = tensor.integers(0), tensor.integers(7)
    quantization = tensor.table(4)
    return Tensor(
        shape,
        size,
        number,
        word,
        tensor.integer(1, "<b"),
        begin,
        unknown if -1 in unknown else (),
        None if quantization is None else _quantization(quantization),
        bool(tensor.integer(5, "<B")),
        tensor,
    )


def _quantization(table: Table) -> Quantization:
    return Quantization(table.numbers(2, "<f4"), table.numbers(3, "<i8"), table.integer(6, "<i"), table)


class DamagedError(Exception):
    """The bytes are not a valid flatbuffer."""


def check(holds: bool, problem: str) -> None:
    """Raises DamagedError unless something holds."""
    if not holds:
        raise DamagedError(problem)


class Source:
    """The bytes, with a budget of bytes that may still be read."""

    def __init__(self, content: bytes) -> None:
        self.content, self.size, self._left = content, len(content), _MAX_READS * len(content) + 64
        self._layouts: dict[int, tuple[int, tuple[int, ...]]] = {}

    def claim(self, begin: int, count: int) -> None:
        """Check a range before it is read."""
        if begin < 0 or begin + count > self.size:
            raise DamagedError(f"offset {begin} is outside")
        self._left -= count
        if self._left < 0:
            raise DamagedError("its parts overlap")

    def number(self, position: int, kind: str) -> int:
        unpack, size = _UNPACK[kind]
        self.claim(position, size)
        return unpack(self.content, position)[0]

    def follow(self, position: int) -> int:
        """Position that the offset at a position refers to."""
        return position + self.number(position, "<I")

    def layout(self, position: int) -> tuple[int, tuple[int, ...]]:
        """Bytes of a table and the offsets of its fields, from a vtable; those of one vtable are shared."""
        layout = self._layouts.get(position)
        if layout is None:
            size, length = self.number(position, "<H"), self.number(position + 2, "<H")
            check(size >= 4 and size % 2 == 0 and length >= 4, f"the fields of a table at {position} are damaged")
            self.claim(position, size)
            offsets = struct.unpack_from(f"<{size // 2 - 2}H", self.content, position + 4)
            right = all(not offset or 4 <= offset < length for offset in offsets)
            check(right, f"a field of the table at {position} is outside")
            layout = self._layouts[position] = length, offsets
        return layout


class Table:
    """A table: fields by number, found through its vtable; an absent field has its default."""

    __slots__ = ("_offsets", "_position", "source")

    def __init__(self, source: Source, position: int) -> None:
        self.source, self._position = source, position
        length, self._offsets = source.layout(position - source.number(position, "<i"))
        source.claim(position, length)

    def place(self, number: int) -> int | None:
        """Where a field lies; None where it is absent."""
        offsets = self._offsets
        if number >= len(offsets):
            return None
        return self._position + offsets[number] if offsets[number] else None

    def integer(self, number: int, kind: str, default: int = 0) -> int:
        position = self.place(number)
        return default if position is None else self.source.number(position, kind)

    def vector(self, number: int, item: int) -> tuple[int, int]:
        """Position of the first item of a vector, and the number of items."""
        position = self.place(number)
        if position is None:
            return 0, 0
        begin = self.source.follow(position)
        count = self.source.number(begin, "<I")
        check(begin + 4 + item * count <= self.source.size, f"a vector of {count} at {begin} is outside")
        return begin + 4, count

    def integers(self, number: int) -> tuple[int, ...]:
        """A vector of 32-bit numbers."""
        begin, count = self.vector(number, 4)
        if not count:
            return ()
        self.source.claim(begin, 4 * count)
        return struct.unpack_from(f"<{count}i", self.source.content, begin)

    def numbers(self, number: int, dtype: str) -> tuple[Any, ...]:
        """A vector of numbers of a NumPy dtype."""
        item = int(dtype[-1])
        begin, count = self.vector(number, item)
        self.source.claim(begin, item * count)
        return tuple(np.frombuffer(self.source.content, dtype, count, begin).tolist()) if count else ()

    def text(self, number: int) -> str:
        begin, count = self.vector(number, 1)
        self.source.claim(begin, count + 1 if begin else 0)
        check(not begin or self.source.content[begin + count] == 0, f"a text at {begin} has no end")
        return self.source.content[begin : begin + count].decode()

    def table(self, number: int) -> Table | None:
        position = self.place(number)
        return None if position is None else Table(self.source, self.source.follow(position))

    def tables(self, number: int) -> list[Table]:
        source = self.source
        return [
            Table(source, position + offset)
            for position, offset in zip(itertools.count(self.vector(number, 4)[0], 4), self.integers(number))
        ]
