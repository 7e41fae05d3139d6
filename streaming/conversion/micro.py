"""`target="micro"`: a step in the operations of TensorFlow Lite for Microcontrollers (TFLM), in one signature.

TFLM (github.com/tensorflow/tflite-micro) runs the first subgraph, with state as inputs and outputs. It has SELECT_V2
and no SELECT, and joins ten tensors at most.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from streaming.conversion import micro_integers
from streaming.conversion.options import is_whole
from streaming.errors import InputError, NotStreamableError

# What its resolver of all operations has, of those that the converter makes.
ALLOWED = frozenset(
    "ABS ADD ADD_N ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO CAST "
    "CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEQUANTIZE DIV ELU EQUAL EXP EXPAND_DIMS FILL FLOOR "
    "FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION "
    "LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN "
    "MINIMUM MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE "
    "RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPLIT SPLIT_V "
    "SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH TRANSPOSE TRANSPOSE_CONV UNPACK WHILE "
    "ZEROS_LIKE".split()
)
WIDEST = 10
# Those that ESPHome's micro_wake_word registers.
_ESPHOME = frozenset(
    "ADD ASSIGN_VARIABLE AVERAGE_POOL_2D CALL_ONCE CONCATENATION CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED LOGISTIC "
    "MAX_POOL_2D MEAN MUL PACK PAD QUANTIZE READ_VARIABLE RESHAPE SPLIT_V STRIDED_SLICE VAR_HANDLE".split()
)
# Operations that give the values of their operands as they are.
MOVES = frozenset("RESHAPE CONCATENATION STRIDED_SLICE SLICE SPLIT SPLIT_V SQUEEZE EXPAND_DIMS TRANSPOSE PAD".split())


@dataclass(frozen=True)
class Device:
    """A runtime for microcontrollers: its name, the operations that it has, and whether some are in float32."""

    name: str
    allowed: frozenset[str]
    arithmetic: bool


DEVICES = {
    "micro": Device("TensorFlow Lite for Microcontrollers", ALLOWED, True),
    "esphome": Device("ESPHome's micro_wake_word", _ESPHOME, False),
}


def check_options(target: Any, state: str, quantize: str | None, batch_sizes: Any, chunk: Any, compact: bool) -> None:
    """Raises InputError where an option of `convert` does not go with a target, or there is no such target."""
    if target is not None and target not in DEVICES:
        raise InputError(f"target is {target!r}, expected None, 'micro' or 'esphome'")
    if target is None:
        return
    wrong = {
        f"state={state!r}": state != "external",
        f"quantize={quantize!r}": quantize not in ((None, "int8") if target == "micro" else ("int8",)),
        f"batch_sizes={batch_sizes!r}": list(batch_sizes) != [1],
        f"chunk={chunk!r}": is_whole(chunk, 2),
        "compact=True": compact,
    }
    if given := [name for name, is_wrong in wrong.items() if is_wrong]:
        raise InputError(
            f"{given[0]} does not go with target={target!r}, whose files have one signature of one step of one stream, "
            + ("in float32 or int8; leave it out" if target == "micro" else "in int8; leave the option out")
        )


def rewrite(model: Any, schema: Any) -> None:
    """Put a model (`ModelT`) into TFLM's forms.

    SELECT_V2, narrow CONCATENATIONs, REDUCE_MAX for REDUCE_ANY, BROADCAST_TO or CONCATENATION for TILE, and those of
    `micro_integers`.
    """
    micro_integers.narrow(model, schema)
    kinds = schema.BuiltinOperator
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    for graph in model.subgraphs:
        forms = micro_integers.Forms(model, graph, schema, partial(operator_code, model, schema))
        edits: dict[int, list[Callable[[Any], None]]] = {
            kinds.SELECT: [partial(_select, model, graph, schema), forms.select],
            kinds.SELECT_V2: [forms.select],
            kinds.CONCATENATION: [partial(_narrow, graph, schema)],
            kinds.REDUCE_ANY: [partial(_any, model, graph, schema)],
            kinds.TILE: [partial(_tile, model, graph, schema)],
            kinds.CAST: [forms.cast],
            kinds.EXPAND_DIMS: [forms.expand],
            kinds.NEG: [forms.negate],
        }
        for operator in list(graph.operators):
            for edit in edits.get(codes[operator.opcodeIndex], ()):
                edit(operator)


def operator_code(model: Any, schema: Any, number: int, version: int = 1) -> int:
    """The index of an operation in the model's list, to which it is added where it is new."""
    known = [code.builtinCode for code in model.operatorCodes]
    if number not in known:
        deprecated = min(number, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
        code = schema.OperatorCodeT(deprecatedBuiltinCode=deprecated, builtinCode=number, version=version)
        model.operatorCodes.append(code)
        known.append(number)
    return known.index(number)


def _any(model: Any, graph: Any, schema: Any, operator: Any) -> None:
    """Whether any of some flags is set: whether the largest of them, as numbers, is not zero."""
    kinds, options = schema.BuiltinOperator, schema.BuiltinOptions
    flags, axes = (int(index) for index in operator.inputs)
    first = len(graph.tensors)
    for source in (flags, int(operator.outputs[0])):
        tensor = copy.deepcopy(graph.tensors[source])
        tensor.type, tensor.buffer, tensor.name = schema.TensorType.FLOAT32, 0, (tensor.name or b"") + b"/number"
        graph.tensors.append(tensor)
    zero = schema.BufferT(data=np.zeros(4, np.uint8))
    model.buffers.append(zero)
    kind, buffer = schema.TensorType.FLOAT32, len(model.buffers) - 1
    graph.tensors.append(schema.TensorT(shape=[1], type=kind, buffer=buffer, name=b"zero"))
    cast = schema.CastOptionsT(inDataType=schema.TensorType.BOOL, outDataType=kind)
    made = [
        (kinds.CAST, [flags], [first], options.CastOptions, cast),
        (kinds.REDUCE_MAX, [first, axes], [first + 1], options.ReducerOptions, operator.builtinOptions),
        (kinds.NOT_EQUAL, [first + 1, first + 2], operator.outputs, options.NotEqualOptions, schema.NotEqualOptionsT()),
    ]
    place = next(i for i, item in enumerate(graph.operators) if item is operator)
    graph.operators[place : place + 1] = [
        schema.OperatorT(operator_code(model, schema, number), inputs, outputs, option_kind, option)
        for number, inputs, outputs, option_kind, option in made
    ]


def _tile(model: Any, graph: Any, schema: Any, operator: Any) -> None:
    """Repeat a tensor: by BROADCAST_TO where all repeated axes have one place, else by joining it with itself."""
    source, target = int(operator.inputs[0]), int(operator.outputs[0])
    before = [int(size) for size in graph.tensors[source].shape]
    after = [int(size) for size in graph.tensors[target].shape]
    repeated = [axis for axis, sizes in enumerate(zip(before, after, strict=True)) if sizes[0] != sizes[1]]
    if all(before[axis] == 1 for axis in repeated):
        model.buffers.append(schema.BufferT(data=np.frombuffer(np.array(after, "<i4").tobytes(), np.uint8)))
        shape = schema.TensorT(
            shape=[len(after)], type=schema.TensorType.INT32, buffer=len(model.buffers) - 1, name=b"shape"
        )
        graph.tensors.append(shape)
        operator.inputs = [source, len(graph.tensors) - 1]
        operator.opcodeIndex = operator_code(model, schema, schema.BuiltinOperator.BROADCAST_TO, 2)
        operator.builtinOptionsType = schema.BuiltinOptions.BroadcastToOptions
        operator.builtinOptions = schema.BroadcastToOptionsT()
        return
    place = next(i for i, item in enumerate(graph.operators) if item is operator)
    made, size = [], list(before)
    for number, axis in enumerate(repeated, 1):
        size[axis] = after[axis]
        result = target
        if number < len(repeated):
            tensor = copy.deepcopy(graph.tensors[target])
            tensor.shape, tensor.shapeSignature = list(size), None
            graph.tensors.append(tensor)
            result = len(graph.tensors) - 1
        options = schema.ConcatenationOptionsT(axis=axis)
        kind = operator_code(model, schema, schema.BuiltinOperator.CONCATENATION)
        parts = [source] * (after[axis] // before[axis])
        made.append(schema.OperatorT(kind, parts, [result], schema.BuiltinOptions.ConcatenationOptions, options))
        source = result
    graph.operators[place : place + 1] = made
    for joined in made:
        _narrow(graph, schema, joined)


def _select(model: Any, graph: Any, schema: Any, operator: Any) -> None:
    """SELECT of operands of one rank is SELECT_V2."""
    ranks = {len(graph.tensors[index].shape) for index in operator.inputs}
    if len(ranks) > 1:
        raise NotStreamableError("the step selects whole rows by SELECT, which TFLM lacks; convert for another target")
    operator.opcodeIndex = operator_code(model, schema, schema.BuiltinOperator.SELECT_V2)
    operator.builtinOptionsType = schema.BuiltinOptions.SelectV2Options
    operator.builtinOptions = schema.SelectV2OptionsT()


def _narrow(graph: Any, schema: Any, operator: Any) -> None:
    """Join many tensors some at a time."""
    while len(operator.inputs) > WIDEST:
        parts = [int(index) for index in operator.inputs[:WIDEST]]
        joined = copy.deepcopy(graph.tensors[operator.outputs[0]])
        axis = operator.builtinOptions.axis
        shape = [int(size) for size in joined.shape]
        shape[axis] = sum(int(graph.tensors[index].shape[axis]) for index in parts)
        joined.shape, joined.shapeSignature, joined.name = shape, None, (joined.name or b"") + b"/part"
        graph.tensors.append(joined)
        first = copy.deepcopy(operator)
        first.inputs, first.outputs = parts, [len(graph.tensors) - 1]
        first.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE
        place = next(i for i, item in enumerate(graph.operators) if item is operator)
        graph.operators.insert(place, first)
        operator.inputs = [len(graph.tensors) - 1, *(int(index) for index in operator.inputs[WIDEST:])]
