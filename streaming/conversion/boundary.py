"""int8 inputs, outputs and states of a step, for microcontrollers.

The quantizer rounds inside of a graph, and leaves float32 where tensors come in and go out. What the graph reads only
in int8 comes in with the scale of that reading, so that nothing is rounded more than before: inputs, the past of a
convolution, the hidden state of an LSTM. A state that arithmetic reads in float32, such as the cell of an LSTM or a
running mean, takes two int8 tensors: its value, and what the first one rounded off, in 254ths of its scale. 16 bits
keep what one step adds to a long memory, which 8 bits lose.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.conversion.lower import Layout
from streaming.conversion.micro import operator_code
from streaming.conversion.rollout import StateRange
from streaming.runtime.metadata import StatePack

# A state of a long stream may be so many times as large as any in the calibration.
HEADROOM = 2.0
# Steps of the coarse tensor's scale that the fine one holds: half of one to each side, in -127 to 127.
_PARTS = 254
# What the name of the second tensor of a state adds to that of the first.
FINE = "_fine"
_SIGNATURE = b"step"


@dataclass(frozen=True)
class Scale:
    """An integer of `dtype` stands for scale * (value - zero_point)."""

    dtype: str
    scale: float
    zero_point: int = 0

    def quantize(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """The nearest integers."""
        limits = np.iinfo(self.dtype)
        return np.clip(np.rint(numbers / self.scale) + self.zero_point, limits.min, limits.max).astype(self.dtype)


class Boundary:
    """Rewrites one step; afterwards `inputs`, `outputs` and `layout` describe it.

    Args:
        layout: of the states of the float32 step, a tensor for each.
        ranges: of the states in a long stream, by name.
        fine: whether an input that no product in int8 reads takes int16, as samples for a front end in the graph.
    """

    def __init__(self, layout: Layout, ranges: Mapping[str, StateRange], fine: bool) -> None:
        self.layout, self._ranges, self._fine = layout, ranges, fine
        self._limits: dict[str, tuple[float, float]] = {}
        self.inputs: dict[str, Scale] = {}
        self.outputs: dict[str, Scale] = {}
        # Names of states that stay in float32.
        self.kept: list[str] = []

    def measure(self, model: Any, schema: Any) -> None:
        """Note the smallest and largest value of each float32 tensor of a calibrated model's boundary."""
        edges = _Edges(model, schema)
        for names in (edges.inputs, edges.outputs):
            for name, index in names.items():
                limits = edges.graph.tensors[index].quantization
                if limits is not None and limits.min is not None and len(limits.min):
                    low, high = self._limits.get(name, (0.0, 0.0))
                    self._limits[name] = min(low, float(limits.min[0])), max(high, float(limits.max[0]))

    def apply(self, model: Any, schema: Any) -> None:
        """Rewrite the step of a quantized model (`ModelT`)."""
        edges = _Edges(model, schema)
        states = {pack.input for pack in self.layout.packs}
        for name, index in list(edges.inputs.items()):
            if name not in states and edges.is_float(index):
                self.inputs[name] = scale = edges.scale_read(index, every=False) or self._scale(name)
                edges.take(name, scale)
        scales = [self._take(place, edges) for place in range(len(self.layout.packs))]
        for name, index in list(edges.outputs.items()):
            if name not in {pack.output for pack in self.layout.packs} and edges.is_float(index):
                self.outputs[name] = scale = edges.scale_given(index) or _asymmetric(*self._range(name))
                edges.give(name, scale)
        for pack, parts in zip(self.layout.packs, scales, strict=True):
            if len(parts) == 2:
                edges.give_pair(pack.output, *parts)
            elif parts:
                edges.give(pack.output, *parts)
        self.layout = _stored(self.layout, scales)
        edges.write()

    def _scale(self, name: str) -> Scale:
        low, high = self._range(name)
        if not self._fine:
            return _asymmetric(low, high)
        # Samples within -1 and 1 are those of 16 bits, as converters give them.
        return Scale("int16", 2.0 ** math.ceil(math.log2(max(-low, high))) / 2**15)

    def _range(self, name: str) -> tuple[float, float]:
        low, high = self._limits.get(name, (0.0, 0.0))
        return (low, high) if low < high else (-1.0, 1.0)

    def _take(self, place: int, edges: _Edges) -> tuple[Scale, ...]:
        """Let a state come in as integers; the scales of the tensors that hold it from now on, none where it stays."""
        pack, row = self.layout.packs[place], self.layout.initial[place]
        index = edges.inputs[pack.input]
        if not edges.is_float(index):
            return ()
        if (read := edges.scale_read(index, every=True)) is not None:
            edges.take(pack.input, read)
            return (read,)
        name = next(slot.name for slot in self.layout.slots if slot.pack == place)
        measured = self._ranges[name]
        largest = max(map(abs, (*self._limits.get(pack.input, ()), measured.first, measured.last)), default=0.0) or 1.0
        if measured.grows or np.abs(row).max(initial=0) > HEADROOM * largest:
            self.kept.append(name)
            return ()
        coarse = Scale("int8", HEADROOM * largest / 127)
        fine = Scale("int8", coarse.scale / _PARTS)
        edges.take_pair(pack.input, coarse, fine)
        return coarse, fine


def _stored(layout: Layout, scales: Sequence[tuple[Scale, ...]]) -> Layout:
    """The states of a layout, each a tensor, in the integers of their scales."""
    packs: list[StatePack] = []
    slots, initial = [], []
    for place, (pack, row, parts) in enumerate(zip(layout.packs, layout.initial, scales, strict=True)):
        slot, rest = next(slot for slot in layout.slots if slot.pack == place), row
        for scale, suffix in zip(parts or (None,), ("", FINE), strict=False):
            name, values, kind = pack.input + suffix, rest, slot
            if scale is not None:
                values = scale.quantize(rest)
                rest = rest - scale.scale * (values.astype(np.float64) - scale.zero_point)
                kind = dataclasses.replace(slot, dtype=scale.dtype, scale=scale.scale, zero_point=scale.zero_point)
            slots.append(dataclasses.replace(kind, name=slot.name + suffix, pack=len(packs)))
            file = f"initial/{name}.bin" if values.any() else None
            packs.append(StatePack(name, pack.output + suffix, str(values.dtype), pack.size, file))
            initial.append(values)
    return Layout(tuple(packs), tuple(slots), tuple(initial))


def _asymmetric(low: float, high: float) -> Scale:
    """The int8 scale of a range, in which 0 is a number of its own."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    return Scale("int8", scale, round(-128 - low / scale))


class _Edges:
    """The first subgraph's inputs and outputs, and edits of what lies behind them."""

    def __init__(self, model: Any, schema: Any) -> None:
        self._model, self._schema = model, schema
        self._signature = next(item for item in model.signatureDefs if item.signatureKey == _SIGNATURE)
        self.graph = model.subgraphs[self._signature.subgraphIndex]
        self.inputs = {item.name.decode(): int(item.tensorIndex) for item in self._signature.inputs}
        self.outputs = {item.name.decode(): int(item.tensorIndex) for item in self._signature.outputs}
        self._places = [int(index) for index in self.graph.inputs], [int(index) for index in self.graph.outputs]
        self._first: list[Any] = []
        self._last: list[Any] = []

    def is_float(self, index: int) -> bool:
        """Whether a tensor is in float32."""
        return bool(self.graph.tensors[index].type == self._schema.TensorType.FLOAT32)

    def scale_read(self, index: int, every: bool) -> Scale | None:
        """The one int8 scale in which a float32 tensor is read: by all that read it, or by any that rounds it."""
        readers = self._readers(index)
        readings = [self._scale(int(op.outputs[0])) if self._is(op, "QUANTIZE") else None for op in readers]
        scales = {scale for scale in readings if scale is not None}
        if len(scales) != 1 or (every and (None in readings or index in self._places[1])):
            return None
        return scales.pop()

    def scale_given(self, index: int) -> Scale | None:
        """The int8 scale of what a float32 tensor is made of, None where arithmetic made it."""
        source = self._source(index)
        return None if source is None else self._scale(source)

    def take(self, name: str, scale: Scale) -> None:
        """Let an input be an integer; readings in its scale are the input itself."""
        index = self.inputs[name]
        taken = self._tensor(index, name, scale)
        for op in self._readers(index):
            if self._is(op, "QUANTIZE") and self._scale(int(op.outputs[0])) == scale:
                self._replace(int(op.outputs[0]), taken)
                self.graph.operators = [other for other in self.graph.operators if other is not op]
        if self._readers(index) or index in self._places[1]:
            self._first.append(self._operator("DEQUANTIZE", [taken], index))
        self._rename(0, name, taken)

    def give(self, name: str, scale: Scale) -> None:
        """Let an output be an integer."""
        index = self.outputs[name]
        source = self._source(index)
        if source is not None and self._scale(source) == scale and source not in (*self._places[0], *self._places[1]):
            self._rename(1, name, source)
        else:
            given = self._tensor(index, name, scale)
            self._last.append(self._operator("QUANTIZE", [index if source is None else source], given))
            self._rename(1, name, given)
        if source is not None and not self._readers(index) and index not in self._places[1]:
            kept = [op for op in self.graph.operators if int(op.outputs[0]) != index]
            if not any(index in map(int, op.inputs) for op in self._last):
                self.graph.operators = kept

    def take_pair(self, name: str, coarse: Scale, fine: Scale) -> None:
        """Let an input be the sum of two integers."""
        index = self.inputs[name]
        parts = [self._tensor(index, name, coarse), self._tensor(index, name + FINE, fine)]
        numbers = [self._tensor(index, f"{name}/number", None) for _ in parts]
        self._first += [self._operator("DEQUANTIZE", [p], n) for p, n in zip(parts, numbers, strict=True)]
        self._first.append(self._operator("ADD", numbers, index))
        self._rename(0, name, parts[0])
        self._add(0, name + FINE, parts[1])

    def give_pair(self, name: str, coarse: Scale, fine: Scale) -> None:
        """Let an output be two integers: its value, and what rounding it left."""
        index = self.outputs[name]
        parts = [self._tensor(index, name, coarse), self._tensor(index, name + FINE, fine)]
        number, rest = (self._tensor(index, f"{name}/{what}", None) for what in ("number", "rest"))
        self._last += [
            self._operator("QUANTIZE", [index], parts[0]),
            self._operator("DEQUANTIZE", [parts[0]], number),
            self._operator("SUB", [index, number], rest),
            self._operator("QUANTIZE", [rest], parts[1]),
        ]
        self._rename(1, name, parts[0])
        self._add(1, name + FINE, parts[1])

    def write(self) -> None:
        """Put the edits into the graph."""
        self.graph.operators = [*self._first, *self.graph.operators, *self._last]
        self.graph.inputs, self.graph.outputs = self._places

    def _is(self, op: Any, kind: str) -> bool:
        code = self._model.operatorCodes[op.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        return bool(number == getattr(self._schema.BuiltinOperator, kind))

    def _readers(self, index: int) -> list[Any]:
        return [op for op in self.graph.operators if index in map(int, op.inputs)]

    def _source(self, index: int) -> int | None:
        """The int8 tensor that a float32 tensor is the reading of."""
        for op in self.graph.operators:
            if index in map(int, op.outputs):
                return int(op.inputs[0]) if self._is(op, "DEQUANTIZE") and self._scale(int(op.inputs[0])) else None
        return None

    def _scale(self, index: int) -> Scale | None:
        tensor = self.graph.tensors[index]
        quantization = tensor.quantization
        if (
            tensor.type != self._schema.TensorType.INT8
            or quantization is None
            or quantization.scale is None
            or len(quantization.scale) != 1
        ):
            return None
        return Scale("int8", float(quantization.scale[0]), int(quantization.zeroPoint[0]))

    def _tensor(self, like: int, name: str, scale: Scale | None) -> int:
        types, source = self._schema.TensorType, self.graph.tensors[like]
        kind = types.FLOAT32 if scale is None else getattr(types, scale.dtype.upper())
        tensor = self._schema.TensorT(shape=source.shape, type=kind, buffer=0, name=name.encode())
        if scale is not None:
            tensor.quantization = self._schema.QuantizationParametersT(
                scale=np.array([scale.scale], np.float32), zeroPoint=np.array([scale.zero_point], np.int64)
            )
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _operator(self, kind: str, inputs: list[int], output: int) -> Any:
        schema, name = self._schema, kind.capitalize()
        return schema.OperatorT(
            operator_code(self._model, schema, getattr(schema.BuiltinOperator, kind), 2 if "QUANT" in kind else 1),
            inputs,
            [output],
            getattr(schema.BuiltinOptions, f"{name}Options"),
            getattr(schema, f"{name}OptionsT")(),
        )

    def _replace(self, old: int, new: int) -> None:
        for op in self.graph.operators:
            op.inputs = [new if int(index) == old else int(index) for index in op.inputs]

    def _rename(self, side: int, name: str, index: int) -> None:
        items = (self._signature.inputs, self._signature.outputs)[side]
        names, places = (self.inputs, self.outputs)[side], self._places[side]
        places[places.index(names[name])] = index
        names[name] = index
        next(item for item in items if item.name.decode() == name).tensorIndex = index

    def _add(self, side: int, name: str, index: int) -> None:
        items = (self._signature.inputs, self._signature.outputs)[side]
        items.append(self._schema.TensorMapT(name=name.encode(), tensorIndex=index))
        (self.inputs, self.outputs)[side][name] = index
        self._places[side].append(index)
