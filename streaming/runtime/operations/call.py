"""One operation of a graph under verification: its operands, its options, and its expected outputs."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streaming.runtime.flatbuffer import DamagedError, Graph, Operation, Tensor

# Numbers of TensorType in the schema of TensorFlow Lite.
FLOAT32, FLOAT16, INT32, UINT8, INT64, BOOL, INT16, INT8 = 0, 1, 2, 3, 4, 6, 7, 9
UINT32, RESOURCE = 15, 13
DTYPES = {FLOAT32: "<f4", FLOAT16: "<f2", INT32: "<i4", UINT8: "u1", INT64: "<i8", BOOL: "?", INT16: "<i2", INT8: "i1"}
QUANTIZED = {INT8: (-128, 127), UINT8: (0, 255), INT16: (-(2**15), 2**15 - 1)}
_NAMES = {FLOAT32: "float32", FLOAT16: "float16", INT32: "int32", UINT8: "uint8", INT64: "int64", BOOL: "bool"}
_NAMES |= {INT16: "int16", INT8: "int8", 5: "string", RESOURCE: "resource", UINT32: "uint32"}
MAX_TENSOR_BYTES = 2**31 - 1
# Scales beyond these are no numbers of a real model.
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-30, 1e30
_MAX_KNOWN = 64

Shape = tuple[int, ...]
# Least and largest value of each element.
Bounds = tuple[NDArray[Any], NDArray[Any]]


class Runner(Protocol):
    """Parts of a model that the check of one call needs.

    graphs: all subgraphs; variables: shape and type of each variable, by its name; assigned: those with a value so far.
    """

    graphs: tuple[Graph, ...]
    variables: dict[str, tuple[Shape, int]]
    assigned: set[str]

    def run(
        self, index: int, shapes: list[Shape], kinds: list[int], limits: list[Bounds | None], times: int = 1
    ) -> tuple[list[Shape], list[int]]:
        """Verify a subgraph called so many times with such tensors; returns the shapes and types of its outputs."""


class Call:
    """An operation with its tensors, one of a graph at a time.

    shapes: of all tensors of the graph, as the runtime will compute them; bounds: of small tensors of whole numbers
    that do not depend on what the model is fed, or lie within known limits; handles: variables by the tensor that
    leads to them.
    """

    __slots__ = ("bounds", "content", "graph", "handles", "inputs", "model", "name", "operation", "shapes")

    def __init__(self, content: bytes, model: Runner, graph: Graph, shapes: list[Shape]) -> None:
        self.content, self.model, self.graph, self.shapes = content, model, graph, shapes
        self.bounds: dict[int, Bounds] = {}
        self.handles: dict[int, str] = {}

    def of(self, operation: Operation) -> Call:
        """The next operation of the same graph."""
        self.operation, self.name, self.inputs = operation, operation.name, operation.inputs
        return self

    def check(self, holds: bool, problem: str) -> None:
        """Raises DamagedError unless all is right."""
        if not holds:
            raise DamagedError(f"{self.name}: {problem}")

    # What it takes

    def arity(self, least: int, most: int | None = None, outputs: int = 1) -> None:
        """Check the numbers of inputs, of which the first `least` must be present, and of outputs."""
        count, most = len(self.inputs), least if most is None else most
        if not least <= count <= most or min(self.inputs[:least], default=0) < 0:
            raise DamagedError(f"{self.name} has {count} inputs")
        if len(self.operation.outputs) != outputs:
            raise DamagedError(f"{self.name} has {len(self.operation.outputs)} outputs")

    def has(self, place: int) -> bool:
        """Whether an optional input is there."""
        return place < len(self.inputs) and self.inputs[place] >= 0

    def tensor(self, place: int) -> Tensor:
        """An input."""
        return self.graph.tensors[self.inputs[place]]

    def shape(self, place: int) -> Shape:
        """The shape of an input."""
        return self.shapes[self.inputs[place]]

    def kind(self, place: int, *allowed: int) -> int:
        """The type of an input, one of those allowed where any are named."""
        kind = self.graph.tensors[self.inputs[place]].kind
        if allowed and kind not in allowed:
            raise DamagedError(f"{self.name} takes {_NAMES.get(kind, f'type {kind}')}")
        return kind

    def is_constant(self, place: int) -> bool:
        """Whether an input's data lie in the file."""
        return self.tensor(place).constant_bytes > 0

    def constant(self, place: int) -> NDArray[Any]:
        """The data of a constant input, flat."""
        tensor = self.tensor(place)
        self.check(tensor.constant_bytes > 0 and tensor.kind in DTYPES, f"operand {place} is no constant")
        dtype = np.dtype(DTYPES[tensor.kind])
        return np.frombuffer(self.content, dtype, tensor.constant_bytes // dtype.itemsize, tensor.begin)

    def limits(self, place: int) -> Bounds | None:
        """Least and largest values of a small input of whole numbers, flat; None where nothing is known."""
        index = self.inputs[place]
        bounds = self.bounds.get(index)
        if bounds is None:
            tensor = self.graph.tensors[index]
            if tensor.constant_bytes and tensor.kind in (INT32, INT64) and math.prod(self.shapes[index]) <= _MAX_KNOWN:
                values = self.constant(place).astype(np.int64)
                bounds = self.bounds[index] = values, values
        return bounds

    def known(self, place: int, count: int | None = None) -> list[int]:
        """The numbers of an operand that determines shapes or addresses; it must be known before the model runs."""
        self.kind(place, INT32, INT64)
        limits = self.limits(place)
        if limits is None or not np.array_equal(*limits):
            raise DamagedError(f"{self.name}: operand {place} is only known when it runs")
        if count is not None and len(limits[0]) != count:
            raise DamagedError(f"{self.name}: operand {place} has {len(limits[0])} numbers, not {count}")
        return limits[0].tolist()

    def option(self, field: int, kind: str = "<i", default: int = 0) -> int:
        """A field of its options."""
        options = self.operation.options
        return default if options is None else options.integer(field, kind, default)

    def activation(self, field: int) -> None:
        """A fused activation that kernels have: none, RELU, RELU_N1_TO_1, RELU6."""
        activation = self.option(field, "<b")
        if not 0 <= activation <= 3:
            raise DamagedError(f"{self.name} has activation {activation}")

    def axis(self, number: int, rank: int) -> int:
        """An axis, counted from the front; negative ones count from the end."""
        if not -rank <= number < rank:
            raise DamagedError(f"{self.name} has axis {number} of {rank}")
        return number + rank if number < 0 else number

    def scale(self, index: int) -> float:
        """The scale of a tensor that is quantized as a whole."""
        tensor = self.graph.tensors[index]
        quantization = tensor.quantization
        if quantization is None or len(quantization.scales) != 1 or len(quantization.zeros) != 1:
            raise DamagedError(f"{self.name}: a tensor has no scale")
        low, high = QUANTIZED.get(tensor.kind, (0, 0))
        if tensor.kind == INT16:
            low = high = 0
        if not low <= quantization.zeros[0] <= high:
            raise DamagedError(f"{self.name}: a zero point of {quantization.zeros[0]}")
        return self._sound(quantization.scales)[0]

    def scales(self, place: int, axis: int, size: int) -> None:
        """The scales of weights: one, or one for each index along an axis; none is shifted unless uint8."""
        tensor = self.tensor(place)
        quantization = tensor.quantization
        if (
            quantization is None
            or len(quantization.scales) not in (1, size)
            or len(quantization.zeros) not in (1, len(quantization.scales))
        ):
            raise DamagedError(f"{self.name}: its weights lack scales")
        if len(quantization.scales) > 1 and quantization.axis != axis:
            raise DamagedError(f"{self.name}: its weights have scales along axis {quantization.axis}")
        low, high = QUANTIZED[UINT8] if tensor.kind == UINT8 else (0, 0)
        if any(not low <= zero <= high for zero in quantization.zeros):
            raise DamagedError(f"{self.name}: its weights have a zero point")
        self._sound(quantization.scales)

    def _sound(self, scales: tuple[float, ...]) -> tuple[float, ...]:
        if not all(_SMALLEST_SCALE <= scale <= _LARGEST_SCALE for scale in scales):
            raise DamagedError(f"{self.name}: a scale is {min(scales)}")
        return scales

    def scaled(self, *places: int, output: bool = True) -> list[float]:
        """The scales of quantized inputs, and of the first output."""
        indexes = [self.inputs[place] for place in places]
        return [self.scale(index) for index in ([*indexes, self.operation.outputs[0]] if output else indexes)]

    # What it gives

    def give(self, shape: Shape, kind: int, place: int = 0) -> None:
        """Check that output `place` has this shape and type."""
        index = self.operation.outputs[place]
        tensor = self.graph.tensors[index]
        if tensor.kind != kind:
            raise DamagedError(
                f"{self.name} gives {_NAMES.get(kind, kind)}, not {_NAMES.get(tensor.kind, tensor.kind)}"
            )
        if tensor.unknown:
            right = len(tensor.unknown) == len(shape) and all(
                size in (-1, actual) for size, actual in zip(tensor.unknown, shape, strict=True)
            )
            self.check(right and min(shape, default=0) >= 0, f"it gives shape {shape}, not {tensor.unknown}")
            self.check(math.prod(shape) * 8 <= MAX_TENSOR_BYTES, f"it gives shape {shape}")
            self.shapes[index] = shape
        elif self.shapes[index] != shape:
            raise DamagedError(f"{self.name} gives shape {shape}, not {self.shapes[index]}")

    def same_scale(self, *places: int) -> None:
        """Checks that a quantized output that only moves numbers has the scale of its operand."""
        for place in places:
            self.same_scale_as(place, 0)

    def same_scale_as(self, source: int, output: int) -> None:
        """Check that a quantized output has a scale if its source input has one."""
        tensor, given = self.tensor(source), self.graph.tensors[self.operation.outputs[output]]
        quantization = tensor.quantization
        if tensor.kind in QUANTIZED and quantization is not None and quantization.scales:
            self.check(given.quantization is not None and bool(given.quantization.scales), "its output has no scale")

    def variable(self, index: int) -> str:
        """The name of the first input's variable, which holds a tensor of this shape and type wherever it is used."""
        name = self.handles.get(self.inputs[0])
        if name is None:
            raise DamagedError(f"{self.name} takes no variable")
        form = self.shapes[index], self.graph.tensors[index].kind
        self.check(self.model.variables.setdefault(name, form) == form, f"variable {name!r} has another shape or type")
        return name

    @property
    def output_kind(self) -> int:
        """The type of the first output."""
        return self.graph.tensors[self.operation.outputs[0]].kind
