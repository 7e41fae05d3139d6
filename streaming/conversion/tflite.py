"""Converts traced steps to one TFLite flatbuffer, and counts its operations."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import logging
import os
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import flatbuffers
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from streaming._compat.tensorflow import Calibrator, mlir_quantize, schema
from streaming.conversion.finishing import finish
from streaming.conversion.micro import Device, rewrite
from streaming.conversion.micro_types import Misfit, misfit
from streaming.conversion.observing import has_loops, observed
from streaming.conversion.rollout import Samples
from streaming.conversion.rounding import names_of_moved, unrounded
from streaming.errors import InputError, NotStreamableError, StreamingError

# Operations with a builtin kernel on every target, no lists, no variables; loops are those of long chunks.
ALLOWED = frozenset(
    "ABS ADD ADD_N ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO "
    "BUCKETIZE CAST CEIL CONCATENATION CONV_2D CONV_3D CONV_3D_TRANSPOSE COS CUMSUM DEPTHWISE_CONV_2D DEQUANTIZE DIV "
    "ELU EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GELU GREATER "
    "GREATER_EQUAL HARD_SWISH L2_NORMALIZATION LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR "
    "LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU "
    "QUANTIZE RANGE RANK REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 "
    "RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT SELECT_V2 SHAPE SIGN SIN SLICE "
    "SOFTMAX SPACE_TO_BATCH_ND SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH TILE "
    "TOPK_V2 TRANSPOSE TRANSPOSE_CONV UNPACK WHILE ZEROS_LIKE".split()
)
_BUILTIN_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}


EVERY = "every TFLite runtime"

# What "int8" leaves in float32.
ARITHMETIC = (
    "ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE SUM MEAN SELECT SELECT_V2 "
    "LOGISTIC TANH EXP LOG RSQRT SQRT EQUAL NOT_EQUAL GREATER GREATER_EQUAL LESS LESS_EQUAL".split()
)

# Attribute of a traced graph: (number of operations after it, name) of each layer, in order.
LAYERS = "streaming_layers"

# Bytes of a saved model from which on its copies are given back to the system.
_LARGE = 30_000_000

# Bytes of a constant from which on a smaller form is worth an operation.
_WORTH_HALVING = 4096

# What internal state needs besides.
VARIABLES = frozenset("ASSIGN_VARIABLE CALL_ONCE READ_VARIABLE VAR_HANDLE".split())


class BoundaryEdit(Protocol):
    """Rewrites the inputs and outputs of a step, of models as the schema's `ModelT`."""

    def measure(self, model: Any, schema: Any) -> None:
        """Note the ranges of values in a calibrated model, which it may change."""

    def apply(self, model: Any, schema: Any) -> None:
        """Edit the quantized model."""


def convert(
    trace: Callable[[], Mapping[str, Any]],
    quantize: str | None,
    module: tf.Module | None = None,
    samples: Samples | None = None,
    compact: bool = False,
    name: str = "step",
    files: Iterable[str] = (),
    device: Device | None = None,
    constants: Mapping[str, NDArray[Any]] | None = None,
    boundary: BoundaryEdit | None = None,
) -> bytes:
    """Convert concrete functions, by signature name, into one flatbuffer that shares their weights.

    trace: makes them; they hold copies of the weights, and are let go once they are saved; module: owns the variables
    of internal state; samples: for "int8", (signature, inputs by name); compact: constants that are float16 numbers are
    stored so; name, files: of the model and of what comes with it; device: the microcontroller that it is for;
    constants: values of inputs, by name, that become constants of the file, as they are whatever is quantized;
    boundary: what rewrites the inputs and outputs of an "int8" step.

    Raises NotStreamableError where the result would need an operation outside the allow-list.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        module = module or tf.Module()
        signatures = dict(trace())
        names = list(signatures)
        tf.saved_model.save(module, folder, signatures=signatures)
        del signatures
        # Collecting takes longer than a small model's conversion.
        tidy = _return_memory if os.path.getsize(Path(folder) / "saved_model.pb") > _LARGE else bool
        tidy()
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=names)
        tidy()
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = bool(module.variables)
        if quantize in ("float16", "dynamic"):
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            # Per-channel dense weights need FULLY_CONNECTED version 12, which tflite-runtime 2.14 lacks.
            converter._experimental_disable_per_channel_quantization_for_dense_layers = True
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            flatbuffer = converter.convert()
            tidy()
            flatbuffer, products = _bind(flatbuffer, constants or {})
            if quantize == "int8":
                flatbuffer = _quantize_products(flatbuffer, samples, products, boundary, device)
            if compact:
                flatbuffer = _halve(flatbuffer)
        except Exception as error:
            missing = dict.fromkeys(re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", str(error)))
            if missing:
                raise _no_builtin_form([f"TensorFlow's {name}" for name in missing], missing, trace()) from error
            reason = str(error).strip().splitlines()[-1][:300]
            raise StreamingError(f"TensorFlow could not convert the step model: {reason}; report the model") from error
    if quantize == "int8":
        _check_scales(flatbuffer)
    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    allowed = ALLOWED | VARIABLES if module.variables else ALLOWED
    if device is not None:
        rewrite(model, schema)
        if boundary is not None:
            boundary.apply(model, schema)
        flatbuffer, allowed = _packed(model), device.allowed
    foreign = sorted(set(operations(flatbuffer)) - allowed)
    if foreign:
        made = _first_result(model, foreign[0])
        raise _no_builtin_form(foreign, foreign, trace(), device.name if device else EVERY, made)
    if device is not None and (wrong := misfit(model, schema)):
        raise _no_kernel(wrong, trace(), device.name)
    return finish(model, schema, name, files)


def _no_builtin_form(
    named: list[str], kinds: Iterable[str], signatures: Mapping[str, Any], runtime: str = EVERY, made: str = ""
) -> NotStreamableError:
    """The error that names the operations which TFLite lacks, and the layer that makes them.

    made: the name of a tensor that one of them gives, for those that the converter makes of several others.
    """
    wanted = {kind.replace("_", "").lower() for kind in kinds}
    graph = next(iter(signatures.values())).graph
    functions = {function.signature.name: function for function in graph.as_graph_def().library.function}
    layer = None
    for index, op in enumerate(graph.get_operations()):
        inner = [functions[name] for name in _called(op.node_def) if name in functions]
        types = {op.type, *(node.op for function in inner for node in function.node_def)}
        if wanted & {kind.lower() for kind in types}:
            layer = next((name for end, name in getattr(graph, LAYERS, ()) if index < end), None)
            break
    layer = layer or _layer_that_makes(made, signatures)
    who = "the step model" if layer is None else f"layer {layer!r}"
    if any("Random" in name for name in named):
        return NotStreamableError(
            f"{who} draws random numbers at inference, of which no stream gives the same; let the layer use the mean "
            "where training is False, or take the noise as an input of the model"
        )
    return NotStreamableError(
        f"{who} needs {', '.join(named)}, outside the operations that {runtime} has; "
        "compute it before the stream, or replace it by other operations"
    )


def _no_kernel(wrong: Misfit, signatures: Mapping[str, Any], runtime: str) -> NotStreamableError:
    """The error that names the operation whose kernel takes no numbers of its operand's type, and the layer."""
    kind = wrong.operation.replace("_", "").lower()

    def is_of_type(op: Any) -> bool:
        return op.type.lower().startswith(kind) and any(tensor.dtype.name == wrong.type for tensor in op.inputs)

    # The tensor of an output has the name of the output.
    layer = _layer_that_makes(wrong.tensor, signatures) or _layer_of(is_of_type, signatures)
    who = "the step model" if layer is None else f"layer {layer!r}"
    return NotStreamableError(
        f"{who} needs {wrong.operation} of {wrong.type}, and {runtime} has it of {', '.join(wrong.takes)} alone; "
        "compute it before the stream, or replace it by other operations"
    )


def _layer_that_makes(tensor: str, signatures: Mapping[str, Any]) -> str | None:
    """The layer whose traced operations a tensor of the TFLite graph is named after."""
    # Converters join the names of operations that they fuse, and number what they split.
    names = {name.partition(":")[0] for name in tensor.split(";")}
    names |= {re.sub(r"\d+$", "", name) for name in names}
    return _layer_of(lambda op: op.name in names, signatures)


def _layer_of(wanted: Callable[[Any], bool], signatures: Mapping[str, Any]) -> str | None:
    """The layer of the first traced operation for which a condition holds."""
    graph = next(iter(signatures.values())).graph
    marks = getattr(graph, LAYERS, ())
    for index, op in enumerate(graph.get_operations()):
        if wanted(op) and (layer := next((name for end, name in marks if index < end), None)):
            return str(layer)
    return None


def mark_layer(name: str) -> None:
    """Note in the graph that is traced that the operations since the last mark are those of a layer."""
    graph = tf.compat.v1.get_default_graph()
    getattr(graph, LAYERS, []).append((len(graph.get_operations()), name))


def _first_result(model: Any, operation: str) -> str:
    """The name of the first tensor that an operation of a model (`ModelT`) gives, "" where it has none."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            if _BUILTIN_NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode)) == operation:
                return (graph.tensors[int(operator.outputs[0])].name or b"").decode()
    return ""


def _called(node: Any) -> list[str]:
    return [value.func.name for value in node.attr.values() if value.HasField("func")]


def _bind(flatbuffer: bytes, constants: Mapping[str, NDArray[Any]]) -> tuple[bytes, list[str]]:
    """Make constants of some inputs; also the names of the operations that take them, or bring values to those."""
    if not constants:
        return flatbuffer, []
    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    buffers, names = {}, []
    for name, value in constants.items():
        buffers[name.encode()] = len(model.buffers)
        model.buffers.append(schema.BufferT(data=np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)))
    for signature in model.signatureDefs:
        graph = model.subgraphs[signature.subgraphIndex]
        bound = {item.tensorIndex: buffers[item.name] for item in signature.inputs if item.name in buffers}
        for index, buffer in bound.items():
            graph.tensors[index].buffer = buffer
        signature.inputs = [item for item in signature.inputs if item.tensorIndex not in bound]
        graph.inputs = [index for index in graph.inputs if int(index) not in bound]
        names += [graph.tensors[index].name.decode() for index in unrounded(model, graph, set(bound))]
    return _packed(model), names


def _quantize_products(
    flatbuffer: bytes,
    samples: Samples | None,
    exact: list[str],
    boundary: BoundaryEdit | None,
    device: Device | None,
) -> bytes:
    """The model with products of matrices in int8 and arithmetic in float32; operations of `exact` stay as they are.

    The arithmetic of a cell decides how long it remembers: a state rounded to a 256th of its range at every step is
    lost where a step adds less than that, as in running means and LSTMs whose forget gates stay open. It costs next
    to nothing beside the products.
    """
    assert samples is not None
    loops = has_loops(flatbuffer)
    calibrated = _widen(observed(flatbuffer, samples) if loops else Calibrator(flatbuffer).calibrate(samples))
    if boundary is not None:
        model = schema.ModelT.InitFromPackedBuf(calibrated, 0)
        boundary.measure(model, schema)
        calibrated = _packed(model)
    kept = ARITHMETIC if device is None or device.arithmetic else []
    exact = [*exact, *names_of_moved(flatbuffer, frozenset(kept))]
    return mlir_quantize(
        calibrated, denylisted_ops=kept, denylisted_nodes=exact, disable_per_channel_for_dense_layers=True
    )


def _widen(calibrated: bytes) -> bytes:
    """Give what is always zero in an encoder a range: the products of its first states. It stays zero in any.

    Runtimes abort on a scale of zero.
    """
    model = schema.ModelT.InitFromPackedBuf(calibrated, 0)
    for place in (item.subgraphIndex for item in model.signatureDefs if item.signatureKey == b"encode"):
        for tensor in model.subgraphs[place].tensors:
            limits = tensor.quantization
            if limits is None or limits.max is None or not len(limits.max):
                continue
            if not np.any([*limits.min, *limits.max]):
                limits.min, limits.max = [-1.0] * len(limits.min), [1.0] * len(limits.max)
    return _packed(model)


def _halve(flatbuffer: bytes) -> bytes:
    """The model with constants that are float16 numbers in half the bytes; what it computes is the same.

    Runtimes make float32 of them when they load the model.
    """
    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    halves = {}
    for place, buffer in enumerate(model.buffers):
        if buffer.data is not None and len(buffer.data) >= _WORTH_HALVING:
            halves[place] = np.asarray(buffer.data).tobytes()
    half_buffers: dict[int, int] = {}
    for graph in model.subgraphs:
        for index, tensor in enumerate(list(graph.tensors)):
            if tensor.type != schema.TensorType.FLOAT32 or tensor.buffer not in halves:
                continue
            if tensor.buffer not in half_buffers:
                values = np.frombuffer(halves[tensor.buffer], "<f4")
                with np.errstate(over="ignore"):
                    half = values.astype("<f2")
                if not np.array_equal(half.astype("<f4"), values):
                    continue
                half_buffers[tensor.buffer] = len(model.buffers)
                model.buffers.append(schema.BufferT(data=np.frombuffer(half.tobytes(), np.uint8)))
            constant = copy.copy(tensor)
            constant.type, constant.buffer = schema.TensorType.FLOAT16, half_buffers[tensor.buffer]
            operator = schema.OperatorT(
                opcodeIndex=len(model.operatorCodes), inputs=[len(graph.tensors)], outputs=[index]
            )
            graph.operators.insert(0, operator)
            graph.tensors.append(constant)
            tensor.buffer = 0
    if not half_buffers:
        return flatbuffer
    for place in half_buffers:
        model.buffers[place].data = None
    number = schema.BuiltinOperator.DEQUANTIZE
    model.operatorCodes.append(schema.OperatorCodeT(deprecatedBuiltinCode=number, builtinCode=number, version=3))
    return _packed(model)


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _check_scales(flatbuffer: bytes) -> None:
    """Refuse a model in which a tensor was always zero during calibration: runtimes abort on scales so small."""
    model = schema.Model.GetRootAs(flatbuffer, 0)
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        for place in range(graph.TensorsLength()):
            tensor = graph.Tensors(place)
            quantization = tensor.Quantization()
            constant = model.Buffers(tensor.Buffer()).DataLength() > 0
            if constant or tensor.Type() != schema.TensorType.INT8 or quantization is None:
                continue
            if any(quantization.Scale(i) < 1e-7 for i in range(quantization.ScaleLength())):
                raise InputError(
                    f"the calibration set leaves tensor {tensor.Name().decode()!r} at zero throughout; "
                    "give sequences of real data that reach every part of the model"
                )


def operations(flatbuffer: bytes) -> dict[str, int]:
    """Number of times that each operation occurs in the first subgraph, that of signature `step`."""
    model = schema.Model.GetRootAs(flatbuffer, 0)
    names = [_name(model.OperatorCodes(i)) for i in range(model.OperatorCodesLength())]
    counts: Counter[str] = Counter()
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        counts.update(names[graph.Operators(i).OpcodeIndex()] for i in range(graph.OperatorsLength()))
    return dict(sorted(counts.items()))


def _name(code: Any) -> str:
    # Old converters write the deprecated 8-bit field alone; the larger of the two is the operation.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if number == schema.BuiltinOperator.CUSTOM:
        return (code.CustomCode() or b"CUSTOM").decode()
    return _BUILTIN_NAMES.get(number, f"operation {number}")


def _return_memory() -> None:
    """Give freed memory back to the system where the C library keeps it: copies of large weights would add up."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what TensorFlow logs while it saves and converts, from Python and from C++."""
    loggers = [logging.getLogger("tensorflow"), logging.getLogger("absl")]
    levels = [logger.level for logger in loggers]
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with open(os.devnull, "w") as nowhere, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
