"""Integer and truth-value operations of a step in the forms that TensorFlow Lite for Microcontrollers (TFLM) has.

Its SELECT_V2 takes no int32 (the ids of an Embedding) and no bool, its CAST and most others no int64, its CAST gives no
bool, its EXPAND_DIMS takes none.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

_LOWEST, _HIGHEST = np.iinfo(np.int32).min, np.iinfo(np.int32).max


def narrow(model: Any, schema: Any) -> None:
    """Let all int64 of a model (`ModelT`) be int32, also at its boundary; constants beyond int32 leave it as it is."""
    types = schema.TensorType
    wide = [tensor for each in model.subgraphs for tensor in each.tensors if tensor.type == types.INT64]
    buffers = {tensor.buffer for tensor in wide if _holds_data(model, tensor)}
    values = {place: np.frombuffer(np.asarray(model.buffers[place].data).tobytes(), "<i8") for place in buffers}
    if any(len(data) and (data.min() < _LOWEST or data.max() > _HIGHEST) for data in values.values()):
        return
    narrowed = {}  # new buffers: two int32 may have the bytes, and so the buffer, of one int64
    for place, data in values.items():
        narrowed[place] = len(model.buffers)
        model.buffers.append(schema.BufferT(data=np.frombuffer(data.astype("<i4").tobytes(), np.uint8)))
    for tensor in wide:
        tensor.type, tensor.buffer = types.INT32, narrowed.get(tensor.buffer, tensor.buffer)
    for each in model.subgraphs:
        for operator in each.operators:
            options = operator.builtinOptions
            for name in ("inDataType", "outDataType", "outputType", "outType"):
                if getattr(options, name, None) == types.INT64:
                    setattr(options, name, types.INT32)


def _holds_data(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


class Forms:
    """Edits of one subgraph: each method replaces an operation by others that TFLM has.

    Args:
        model, graph: the schema's `ModelT`, and one of its subgraphs.
        code: gives the index of an operation in the model's list, by its number.
    """

    def __init__(self, model: Any, graph: Any, schema: Any, code: Any) -> None:
        self._model, self._graph, self._schema, self._code = model, graph, schema, code

    def select(self, operator: Any) -> None:
        """x or y by a condition c: y + c (x - y) for int32, and (c and x) or (not c and y) for bool."""
        types = self._schema.TensorType
        condition, x, y = (int(index) for index in operator.inputs)
        result = int(operator.outputs[0])
        kind = self._graph.tensors[result].type
        if kind == types.INT32:
            flag = self._like(condition, types.INT32)
            difference, part = self._joined(x, y), self._like(result, types.INT32)
            self._replace(
                operator,
                self._number(condition, flag),
                self._operator("SUB", [x, y], difference),
                self._operator("MUL", [flag, difference], part),
                self._operator("ADD", [part, y], result),
            )
        elif kind == types.BOOL:
            other = self._like(condition, types.BOOL)
            parts = [self._like(result, types.BOOL) for _ in (x, y)]
            self._replace(
                operator,
                self._operator("LOGICAL_NOT", [condition], other),
                self._operator("LOGICAL_AND", [condition, x], parts[0]),
                self._operator("LOGICAL_AND", [other, y], parts[1]),
                self._operator("LOGICAL_OR", parts, result),
            )

    def cast(self, operator: Any) -> None:
        """The truth value of a number is whether it is not zero."""
        source, result = int(operator.inputs[0]), int(operator.outputs[0])
        types, kind = self._schema.TensorType, self._graph.tensors[source].type
        if self._graph.tensors[result].type == types.BOOL and kind in (types.INT32, types.FLOAT32):
            zero = self._constant(np.zeros(1, "<i4" if kind == types.INT32 else "<f4"))
            self._replace(operator, self._operator("NOT_EQUAL", [source, zero], result))

    def expand(self, operator: Any) -> None:
        """EXPAND_DIMS is RESHAPE where all sizes are known."""
        source, result = int(operator.inputs[0]), int(operator.outputs[0])
        shape = np.array(self._graph.tensors[result].shape, "<i4")
        self._replace(operator, self._operator("RESHAPE", [source, self._constant(shape)], result))

    def negate(self, operator: Any) -> None:
        """-x of int32 is 0 - x."""
        if self._graph.tensors[int(operator.outputs[0])].type == self._schema.TensorType.INT32:
            zero = self._constant(np.zeros(1, "<i4"))
            self._replace(operator, self._operator("SUB", [zero, int(operator.inputs[0])], int(operator.outputs[0])))

    def _replace(self, operator: Any, *others: Any) -> None:
        operators = self._graph.operators
        place = next(i for i, item in enumerate(operators) if item is operator)
        operators[place : place + 1] = others

    def _like(self, index: int, kind: int) -> int:
        tensor = copy.deepcopy(self._graph.tensors[index])
        tensor.type, tensor.buffer, tensor.quantization = kind, 0, None
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _joined(self, *indexes: int) -> int:
        """A tensor of the shape to which some are broadcast."""
        shapes = [[int(size) for size in self._shape(index)] for index in indexes]
        index = self._like(indexes[0], self._graph.tensors[indexes[0]].type)
        tensor = self._graph.tensors[index]
        tensor.shape, tensor.shapeSignature = list(np.broadcast_shapes(*shapes)), None
        return index

    def _shape(self, index: int) -> Any:
        shape = self._graph.tensors[index].shape
        return [] if shape is None else shape

    def _constant(self, values: Any) -> int:
        self._model.buffers.append(self._schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
        buffer = len(self._model.buffers) - 1
        types = self._schema.TensorType
        kind = types.FLOAT32 if values.dtype.kind == "f" else types.INT32
        tensor = self._schema.TensorT(shape=list(values.shape), type=kind, buffer=buffer, name=b"constant")
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _number(self, source: int, result: int) -> Any:
        operator = self._operator("CAST", [source], result)
        operator.builtinOptions.inDataType = self._graph.tensors[source].type
        operator.builtinOptions.outDataType = self._graph.tensors[result].type
        return operator

    def _operator(self, kind: str, inputs: list[int], output: int) -> Any:
        schema, name = self._schema, "".join(part.capitalize() for part in kind.split("_"))
        return schema.OperatorT(
            self._code(getattr(schema.BuiltinOperator, kind)),
            inputs,
            [output],
            getattr(schema.BuiltinOptions, f"{name}Options"),
            getattr(schema, f"{name}OptionsT")(),
        )
