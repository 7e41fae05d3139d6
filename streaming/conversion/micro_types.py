"""The types of numbers that the operations of TensorFlow Lite for Microcontrollers (TFLM) take.

As its kernels of 2026 check them (tensorflow/lite/micro/kernels); int4 weights are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_FLOATS = "FLOAT32"
_QUANTIZED = "FLOAT32 INT8"
_WIDE = "FLOAT32 INT8 INT16"
_COUNTED = "FLOAT32 INT8 INT16 INT32"
_COMPARED = "FLOAT32 INT8 INT32 INT64"
_OF: dict[str, str] = {
    _FLOATS: "CEIL COS EXP FLOOR FLOOR_DIV FLOOR_MOD LOG ROUND SIN SQRT SQUARE",
    _QUANTIZED: "ADD_N ARG_MAX ARG_MIN BATCH_TO_SPACE_ND CUMSUM ELU GATHER GATHER_ND HARD_SWISH L2_NORMALIZATION "
    "LOG_SOFTMAX NEG REDUCE_MAX REDUCE_MIN RSQRT SPACE_TO_BATCH_ND",
    _WIDE: "ABS AVERAGE_POOL_2D BATCH_MATMUL CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED LEAKY_RELU LOGISTIC MAX_POOL_2D "
    "EXPAND_DIMS MEAN PRELU RELU RELU6 RESIZE_NEAREST_NEIGHBOR SELECT_V2 SOFTMAX SUM TANH TRANSPOSE TRANSPOSE_CONV",
    _COUNTED: "ADD MUL PAD PADV2 SPLIT SPLIT_V SQUARED_DIFFERENCE SUB UNPACK",
    _COMPARED: "GREATER_EQUAL LESS LESS_EQUAL ZEROS_LIKE",
    f"{_COMPARED} BOOL": "EQUAL NOT_EQUAL",
    f"{_COMPARED} INT16": "GREATER MAXIMUM MINIMUM PACK",
    f"{_COUNTED} BOOL": "CAST SLICE STRIDED_SLICE",
    f"{_COUNTED} INT64 BOOL": "CONCATENATION",
    f"{_COUNTED} INT64 BOOL UINT8": "REVERSE_V2",
    "FLOAT32 INT8 INT32": "DIV FILL",
    "INT8 INT16 UINT8": "DEQUANTIZE",
    f"{_COUNTED} UINT8": "QUANTIZE",
    "INT32 INT64": "BROADCAST_ARGS",
    "BOOL": "LOGICAL_AND LOGICAL_NOT LOGICAL_OR",
}
# By operation; those that are not here (RESHAPE, SQUEEZE, SHAPE, BROADCAST_TO, WHILE) take all.
TYPES = {name: frozenset(types.split()) for types, names in _OF.items() for name in names.split()}
# The operand whose type counts, where it is not the first.
_OPERANDS = {"SELECT_V2": 1, "SPLIT": 1, "FILL": 1, "TRANSPOSE_CONV": 2}
_PLACES = frozenset(["INT32"])
_RESULTS = frozenset(_COUNTED.split())


@dataclass(frozen=True)
class Misfit:
    """An operation that takes no numbers of a type: its name, the type, those that it takes, the tensor it makes."""

    operation: str
    type: str
    takes: tuple[str, ...]
    tensor: str


def misfit(model: Any, schema: Any) -> Misfit | None:
    """The first operation of a model (`ModelT`) whose operand has a type that TFLM's kernel does not take."""
    operations, types = (
        {number: name for name, number in vars(kind).items() if name.isupper()}
        for kind in (schema.BuiltinOperator, schema.TensorType)
    )
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            name = operations[max(code.builtinCode, code.deprecatedBuiltinCode)]
            checks = [(operator.inputs, _OPERANDS.get(name, 0), TYPES.get(name))]
            if name in ("GATHER", "GATHER_ND"):
                checks.append((operator.inputs, 1, _PLACES))
            if name == "CAST":
                checks.append((operator.outputs, 0, _RESULTS))
            for tensors, place, takes in checks:
                if takes is None:
                    continue
                kind = types[graph.tensors[int(tensors[place])].type]
                if kind not in takes:
                    made = graph.tensors[int(operator.outputs[0])].name or b""
                    return Misfit(name, kind.lower(), tuple(sorted(each.lower() for each in takes)), made.decode())
    return None
