"""Forged graphs: what each operation may take and how it may be set, edited field by field; and a small fuzz."""

from __future__ import annotations

import copy
import functools
import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import runtime_models as models
import tensorflow as tf
from runtimes import RUNTIMES, installed
from scripts import load_script
from tensorflow.lite.python import schema_py_generated as schema

import streaming
from streaming.conversion.tflite import ALLOWED, VARIABLES
from streaming.errors import ArtifactError, StreamingError
from streaming.runtime import artifact, flatbuffer, verifier
from streaming.runtime.metadata import InputInfo, Metadata, OutputInfo, SignatureInfo
from streaming.runtime.model import StreamingModel
from streaming.runtime.operations import OPERATIONS

TOOLS = Path(streaming.__file__).parents[1] / "tools"
NUMBERS = {name: value for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}


@functools.cache
def graph(name: str) -> bytes:
    module = load_script("fuzz_graphs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return module.graph(name)


def find(model: Any, name: str) -> tuple[Any, Any]:
    """The first operation of that name, and its graph."""
    for part in model.subgraphs:
        for operation in part.operators:
            if model.operatorCodes[operation.opcodeIndex].builtinCode == NUMBERS[name]:
                return operation, part
    raise AssertionError(f"no {name}")


def constant(model: Any, name: str, place: int, values: list[int]) -> None:
    """Give an operation an operand of its own with other numbers; a single one fills its shape."""
    operation, part = find(model, name)
    tensor = copy.copy(part.tensors[operation.inputs[place]])
    data = np.resize(np.array(values, np.int32), math.prod(tensor.shape))
    tensor.buffer = len(model.buffers)
    operation.inputs = [*operation.inputs[:place], len(part.tensors), *operation.inputs[place + 1 :]]
    part.tensors.append(tensor)
    model.buffers.append(schema.BufferT(data=np.frombuffer(data.tobytes(), np.uint8)))


def packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def edited(name: str, edit: Callable[[Any], object]) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(graph(name), 0)
    edit(model)
    return packed(model)


def option(name: str, **values: Any) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        for field, value in values.items():
            setattr(find(model, name)[0].builtinOptions, field, value)

    return edit


def without_options(name: str) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        operation, _ = find(model, name)
        operation.builtinOptions, operation.builtinOptionsType = None, 0

    return edit


def operand(name: str, place: int, values: list[int]) -> Callable[[Any], None]:
    return lambda model: constant(model, name, place, values)


def output_shape(name: str, shape: list[int]) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        operation, part = find(model, name)
        part.tensors[operation.outputs[0]].shape = np.array(shape, np.int32)

    return edit


def output_type(name: str, kind: int) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        operation, part = find(model, name)
        part.tensors[operation.outputs[0]].type = kind

    return edit


def code(name: str, other: str) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        found = model.operatorCodes[find(model, name)[0].opcodeIndex]
        found.builtinCode, found.deprecatedBuiltinCode = NUMBERS[other], min(NUMBERS[other], 127)

    return edit


def outer_row(model: Any) -> None:
    constant(model, "STRIDED_SLICE", 1, [9])
    options = find(model, "STRIDED_SLICE")[0].builtinOptions
    options.shrinkAxisMask, options.beginMask = 1, 0


def two_writers(model: Any) -> None:
    operations = model.subgraphs[0].operators
    operations[1].outputs = operations[0].outputs


def backwards(model: Any) -> None:
    model.subgraphs[0].operators.reverse()


def written_constant(model: Any) -> None:
    operation, _ = find(model, "RESHAPE")
    operation.outputs = operation.inputs[1:]


def scale(value: float) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        operation, part = find(model, "CONV_2D")
        quantization = part.tensors[operation.inputs[1]].quantization
        quantization.scale = np.full(len(quantization.scale), value, np.float32)

    return edit


def no_scale(model: Any) -> None:
    operation, part = find(model, "FULLY_CONNECTED")
    part.tensors[operation.inputs[1]].quantization = None


def no_first_value(model: Any) -> None:
    operations = model.subgraphs[0].operators
    model.subgraphs[0].operators = [item for item in operations if item is not find(model, "CALL_ONCE")[0]]


def shared_variable(model: Any) -> None:
    for part in model.subgraphs:
        for operation in part.operators:
            if model.operatorCodes[operation.opcodeIndex].builtinCode == NUMBERS["VAR_HANDLE"]:
                operation.builtinOptions.sharedName = b"one"


def endless(model: Any) -> None:
    loop, _ = find(model, "WHILE")
    body = model.subgraphs[loop.builtinOptions.bodySubgraphIndex]
    add = next(
        item
        for item in body.operators
        if model.operatorCodes[item.opcodeIndex].builtinCode == NUMBERS["ADD"]
        and body.tensors[item.outputs[0]].type == schema.TensorType.INT32
    )
    add.inputs = [add.inputs[0], add.inputs[0]]


CASES = {
    "one more part than outputs": ("places", option("SPLIT", numSplits=4), "num_splits is 4, it has 3 outputs"),
    "parts that do not add up": ("places", operand("SPLIT_V", 1, [1, 9]), "4 is not .1, 9."),
    "parts of an axis that is not there": ("places", operand("SPLIT", 0, [7]), "axis 7 of 3"),
    "a slice behind the end": ("places", operand("SLICE", 1, [1, 1, 0]), "SLICE: it reads 2 from 1 to 1 of 2"),
    "a slice before the begin": ("places", operand("SLICE", 1, [-1, 1, 0]), "SLICE: it reads 2 from -1"),
    "a row behind the end": ("places", outer_row, "it reads 9 to 9 of"),
    "a step of zero": ("places", operand("STRIDED_SLICE", 3, [0]), "a stride is 0"),
    "another shape than is computed": ("places", output_shape("RESHAPE", [3, 9]), "RESHAPE gives shape"),
    "an order with an axis twice": ("places", operand("TRANSPOSE", 1, [0, 0, 1]), "it orders 3 axes as"),
    "padding below zero": ("places", operand("PAD", 1, [0, 0, -1, 2, 0, 0]), "it pads"),
    "a mirror that is too large": ("places", operand("MIRROR_PAD", 1, [0, 0, 9, 9, 0, 0]), "MIRROR_PAD"),
    "a shape of other size": ("places", operand("RESHAPE", 1, [3, 9]), "is not .3, 9."),
    "repeated too often": ("places", operand("TILE", 1, [1, 2**30, 1]), "TILE gives shape"),
    "an input of another type": ("places", output_type("PACK", schema.TensorType.INT8), "PACK gives float32"),
    "indices of the wrong axis": ("places", option("GATHER", axis=5), "GATHER has axis 5"),
    "another operation": ("places", code("PACK", "CONCATENATION"), "has the options of another operation"),
    "an operation without a rule": ("places", code("TILE", "HASHTABLE_LOOKUP"), "HASHTABLE_LOOKUP, which is not verif"),
    "no options": ("products", without_options("CONV_2D"), "CONV_2D has no options"),
    "strides of zero": ("products", option("CONV_2D", strideW=0), "strides .1, 0."),
    "dilation of zero": ("products", option("CONV_2D", dilationHFactor=0), "dilations .0, 1."),
    "an unknown activation": ("products", option("FULLY_CONNECTED", fusedActivationFunction=9), "activation 9"),
    "an output that the strides do not give": (
        "products",
        option("TRANSPOSE_CONV", strideH=5),
        "TRANSPOSE_CONV: .* does",
    ),
    "a pool of nothing": ("products", option("MAX_POOL_2D", filterHeight=0), "kernel .0, 2."),
    "a multiplier that is not the weights'": ("products", option("DEPTHWISE_CONV_2D", depthMultiplier=9), "by 9"),
    "blocks of zero": ("products", operand("BATCH_TO_SPACE_ND", 1, [0, 2]), "its blocks are"),
    "a product of other sizes": ("products", option("BATCH_MATMUL", adjY=False), "does not go with"),
    "a number divided by zero": ("elements", operand("FLOOR_MOD", 1, [0]), "divisor is not known"),
    "the best of too many": ("elements", operand("TOPK_V2", 1, [77]), "it takes 77"),
    "a sum over no axis of it": ("elements", operand("MEAN", 1, [9]), "MEAN has axis 9"),
    "a softmax without a slope": ("elements", option("SOFTMAX", beta=float("nan")), "its beta is nan"),
    "two writers": ("elements", two_writers, "writes a tensor that is not free"),
    "read before it is written": ("dynamic", backwards, "reads a tensor that nothing has written"),
    "a constant is written": ("places", written_constant, "writes a tensor that is not free"),
    "a scale of zero": ("int8", scale(0.0), "a scale is 0"),
    "a scale that is no number": ("int8", scale(float("nan")), "a scale is nan"),
    "weights without scales": ("dynamic", no_scale, "its weights lack scales"),
    "a variable without a value": ("variables", no_first_value, "has no value yet"),
    "a variable of two shapes": ("variables", shared_variable, "has another shape or type"),
    "a loop without an end": ("loops", endless, "nothing counts its rounds"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_runtime_would_follow_outside_is_refused_by_name(case: str) -> None:
    name, edit, message = CASES[case]
    with pytest.raises(ArtifactError, match=message) as caught:
        verifier.verify(edited(name, edit))
    assert "trust=True" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dynamic", "elements", "int8", "loops", "places", "products", "variables"])
def test_sound_graphs_pass(name: str) -> None:
    verifier.verify(graph(name))
    verifier.verify(edited(name, lambda model: None))


def test_every_operation_of_the_converter_has_a_rule() -> None:
    assert OPERATIONS.keys() >= ALLOWED | VARIABLES
    assert OPERATIONS.keys() <= set(flatbuffer.BUILTIN_NAMES)


def test_options_have_the_numbers_of_the_schema() -> None:
    names = {
        "L2_NORMALIZATION": "L2NormOptions",
        "CALL_ONCE": "CallOnceOptions",
        "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
        "TOPK_V2": "TopKV2Options",
    }
    wanted = {value: key for key, value in vars(schema.BuiltinOptions).items()}
    for name, entry in OPERATIONS.items():
        if entry.options and not any(
            part in name for part in ("REDUCE", "POOL", "MAXI", "MINI", "MEAN", "SUM", "CONV_3D")
        ):
            plain = names.get(name, name.replace("_", "") + "Options").lower()
            assert wanted[entry.options].lower() in (plain, plain.replace("v2o", "o")), name


def test_all_pretrained_models_pass() -> None:
    paths = sorted((TOOLS.parent / "pretrained").glob("*/*.tflite"))
    assert paths
    for path in paths:
        verifier.verify(artifact.read(path).flatbuffer)


def test_what_was_right_once_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    content = models.filter_model()[0]
    verifier.verify(content, artifact.fingerprint(content))
    monkeypatch.setattr(verifier, "read_flatbuffer", None)
    verifier.verify(content, artifact.fingerprint(content))


@pytest.fixture
def crashing(tmp_path: Path) -> Path:
    """A file with a right checksum that ends the process of an interpreter: a SPLIT writes more parts than it has."""

    def make(batch: int, chunk: int) -> Any:
        return (lambda x: {"y": sum(tf.split(x, 3, 2))}), {"x": ((batch, chunk, 3), "float32")}

    meta = Metadata(
        fingerprint="",
        flatbuffer_bytes=0,
        signatures={"step": SignatureInfo(1, 1)},
        inputs=(InputInfo("x", (3,), "float32"),),
        outputs=(OutputInfo("y", (1,), "float32"),),
    )
    model = schema.ModelT.InitFromPackedBuf(models.build(make, {"step": (1, 1)}), 0)
    option("SPLIT", numSplits=100_000)(model)
    path = tmp_path / "model.tflite"
    path.write_bytes(artifact.pack(packed(model), meta, {}))
    return path


def test_a_crash_in_isolation_is_an_error(crashing: Path) -> None:
    with pytest.raises(ArtifactError, match="num_splits"):
        streaming.load(crashing, isolated=True)
    with pytest.raises(ArtifactError, match="the interpreter's process was ended by SIG"):
        streaming.load(crashing, trust=True, isolated=True)


@pytest.mark.parametrize("name", ["filter", "lookup", "internal"])
def test_isolated_streams_equal_others(tmp_path: Path, name: str) -> None:
    path = models.write(tmp_path / "model.tflite", models.MODELS[name]())
    plain, isolated = streaming.load(path), streaming.load(path, isolated=True)
    x = {info.name: np.ones((7, *info.shape), info.dtype) for info in plain.metadata.inputs}
    one = x if len(x) > 1 else next(iter(x.values()))
    for _ in range(2):
        streams = plain.create_stream(), isolated.create_stream()
        models.assert_same(streams[1].feed(one), streams[0].feed(one))
        models.assert_same(streams[1].finish(), streams[0].finish())


def test_a_stream_survives_the_process_of_its_interpreter(tmp_path: Path) -> None:
    path = models.write(tmp_path / "model.tflite", models.MODELS["filter"]())
    model = streaming.load(path, isolated=True)
    stream, other = model.create_stream(), streaming.load(path).create_stream()
    x = models.noise(4, 3)
    models.assert_same(stream.feed(x), other.feed(x))
    engine: Any = model.engines.get()
    engine._child._process.kill()
    with pytest.raises(StreamingError, match="was ended by SIGKILL; the stream has not moved"):
        stream.feed(x)
    models.assert_same(stream.feed(x), other.feed(x))


def test_trust_lets_other_operations_in(tmp_path: Path) -> None:
    content, meta, files = models.MODELS["lookup"]()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    code("ADD", "RIGHT_SHIFT")(model)
    forged = artifact.parse(artifact.pack(packed(model), meta, files), "forged")
    with pytest.raises(ArtifactError, match="trust=True"):
        StreamingModel(forged)
    assert StreamingModel(forged, "litert", trust=True).fingerprint == forged.metadata.fingerprint


def fuzz(folder: Path, runtime: str, count: int) -> dict[str, Any]:
    command = [sys.executable, str(TOOLS / "fuzz_models.py"), "--runtime", runtime, "--count", str(count)]
    environment = {**os.environ, "PYTHONPATH": str(TOOLS.parent)}
    done = subprocess.run([*command, "--corpus", str(folder)], capture_output=True, text=True, env=environment)
    return json.loads(done.stdout)


@pytest.mark.parametrize("runtime", [name for name in RUNTIMES if name != "tf"])
def test_forged_graphs_do_no_harm(tmp_path: Path, runtime: str) -> None:
    if not installed(runtime):
        pytest.skip("not installed")
    for name in ("places", "variables"):
        (tmp_path / f"{name}.tflite").write_bytes(graph(name))
    found = fuzz(tmp_path, runtime, 300)
    assert not any(found["cases"].values()), found
    assert found["refused"] > 150
    assert found["run"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("runtime", [name for name in RUNTIMES if name != "tf"])
def test_many_forged_graphs_do_no_harm(tmp_path: Path, runtime: str) -> None:
    if not installed(runtime):
        pytest.skip("not installed")
    found = fuzz(tmp_path, runtime, 20_000)
    assert not any(found["cases"].values()), found
