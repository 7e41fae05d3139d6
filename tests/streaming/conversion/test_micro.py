"""Files for microcontrollers run on TensorFlow Lite for Microcontrollers, and what a firmware needs of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from places import DOCS

import streaming
from rnnzoo.layers import MinGRU
from streaming.cli import main
from streaming.conversion import micro
from streaming.errors import ArtifactError, InputError, NotStreamableError, StreamingError
from streaming.runtime.flatbuffer import read_flatbuffer

pytest.importorskip("tflite_micro", reason="tflite-micro is not installed for this Python")
from streaming import firmware
from streaming.identifiers import identifiers

SEQUENCES = [np.random.default_rng(seed).normal(size=(50, 6)).astype("float32") for seed in range(3)]


def model(build: Any, **shape: Any) -> Any:
    keras.utils.set_random_seed(0)
    x = keras.Input(**{"shape": (None, 6), **shape})
    return keras.Model(x, build(x))


def conv_gru(x: Any) -> Any:
    return layers.GRU(5, return_sequences=True)(layers.Conv1D(4, 3, padding="same", activation="relu")(x))


BUILDERS = {
    "lstm": lambda x: layers.Dense(3)(layers.LSTM(8, return_sequences=True)(x)),
    "conv and gru": conv_gru,
    "separable": lambda x: layers.SeparableConv1D(5, 3, padding="same")(x),
    "min gru": lambda x: MinGRU(8, return_sequences=True)(x),
    "masked": lambda x: layers.GRU(4, return_sequences=True)(layers.Masking()(x)),
    "twelve states": lambda x: layers.Concatenate()([layers.GRU(2, return_sequences=True)(x) for _ in range(12)]),
    "repeated": lambda x: layers.GRU(3, return_sequences=True)(ops.tile(x, (1, 1, 2))),
    "mean over time": lambda x: layers.GlobalAveragePooling1D()(layers.LSTM(4, return_sequences=True)(x)),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_a_stream_on_tflm_is_the_model(name: str, convert: Any) -> None:
    offline = model(BUILDERS[name])
    report, path = convert(offline, target="micro")
    assert report.verification.runtime == "tflite_micro"
    assert report.signatures == {"step": (1, 1)}
    assert set(report.ops) <= micro.ALLOWED
    x = np.random.default_rng(9).normal(size=(20, 6)).astype("float32")
    x[4:7] = 0
    expected = np.asarray(offline(x[None]))[0]
    for runtime in ("tflite_micro", "auto"):  # the same file runs everywhere
        stream = streaming.load(path, runtime=runtime).create_stream()
        rows = np.concatenate([stream.feed(x[:7]), stream.feed(x[7:]), stream.finish()])
        np.testing.assert_allclose(rows[-1] if expected.ndim == 1 else rows, expected, atol=1e-5)


WORDS = {
    "ids": lambda x: layers.GRU(4, return_sequences=True)(layers.Embedding(9, 4)(x)),
    "masked ids": lambda x: layers.GRU(4, return_sequences=True)(layers.Embedding(9, 4, mask_zero=True)(x)),
    "places": lambda x: layers.Embedding(9, 4)(ops.where(x > 4, x - 4, x)) + ops.cast(x > 2, "float32")[..., None],
    "truth": lambda x: ops.cast(ops.where(x > 2, ops.equal(x, 5), ops.equal(x, 1)), "float32"),
    "chosen": lambda x: ops.where(ops.cast(x, "bool"), 1.5, -1.0),
    "columns": lambda x: ops.take(layers.Embedding(9, 4)(x), [3, 1], axis=-1),
    "negated": lambda x: layers.Embedding(9, 4)(9 + ops.negative(ops.maximum(x, 1))),
}


@pytest.mark.parametrize(("name", "dtype"), [*((name, "int32") for name in WORDS), ("masked ids", "int64")])
def test_ids_and_truth_values(name: str, dtype: str, convert: Any) -> None:
    """`keras.ops.take` counts places below zero from the end by selecting int32; TFLM selects none, nor by int64."""
    offline = model(WORDS[name], shape=(None,), dtype=dtype)
    _, path = convert(offline, target="micro", verify=False)
    loaded = streaming.load(path, runtime="tflite_micro")
    assert loaded.metadata.inputs[0].dtype == "int32"
    ids = np.array([1, 8, 0, 3, 3, 0, 5], dtype)
    rows = loaded.create_stream().feed(ids)
    np.testing.assert_allclose(rows, np.asarray(offline(ids[None]))[0], atol=1e-5)


@pytest.mark.slow
def test_windows_ids_and_saved_streams(convert: Any) -> None:
    # A recurrent layer inside of a window is a loop whose rows begin by repeating a number.
    window = model(lambda x: layers.Dense(3)(layers.GRU(4)(layers.Conv1D(5, 3)(x))), shape=(12, 6))
    _, path = convert(window, target="micro")
    x = np.random.default_rng(1).normal(size=(20, 6)).astype("float32")
    rows = streaming.load(path, runtime="tflite_micro").create_stream().feed(x)
    np.testing.assert_allclose(rows, [np.asarray(window(x[k : k + 12][None]))[0] for k in range(9)], atol=1e-5)
    tagger = model(
        lambda x: layers.GRU(4, return_sequences=True)(layers.Embedding(9, 4)(x)), shape=(None,), dtype="int32"
    )
    _, path = convert(tagger, target="micro")
    ids = np.array([1, 8, 0, 3, 3])
    loaded = streaming.load(path, runtime="tflite_micro")
    stream = loaded.create_stream()
    first = stream.feed(ids[:2])
    rest = loaded.restore(stream.save()).feed(ids[2:])
    np.testing.assert_allclose(np.concatenate([first, rest]), np.asarray(tagger(ids[None]))[0], atol=1e-5)


@pytest.mark.slow
def test_int8_is_close(convert: Any) -> None:
    report, path = convert(model(BUILDERS["lstm"]), target="micro", quantize="int8", calibration=SEQUENCES)
    assert report.verification.runtime == "tflite_micro"
    assert "QUANTIZE" in report.ops
    streams = [streaming.load(path, runtime=name).create_stream() for name in ("tflite_micro", "auto")]
    a, b = (stream.feed(SEQUENCES[0]) for stream in streams)
    assert np.abs(a - b).max() < 0.05 * np.abs(b).max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "mcu"}, "expected None, 'micro' or 'esphome'"),
        ({"quantize": "dynamic"}, "quantize='dynamic' does not go with target='micro'"),
        ({"quantize": "float16"}, "quantize='float16'"),
        ({"state": "internal"}, "state='internal'"),
        ({"batch_sizes": (1, 4)}, "batch_sizes"),
        ({"chunk": 8}, "chunk=8"),
        ({"compact": True}, "compact=True"),
    ],
)
def test_options_that_no_microcontroller_takes(options: Any, message: str, convert: Any) -> None:
    with pytest.raises(InputError, match=message):
        convert(model(BUILDERS["lstm"]), **{"target": "micro", **options})


def test_operations_that_tflm_lacks_are_named(convert: Any) -> None:
    with pytest.raises(NotStreamableError, match=r"layer '\w+' .*needs POW, .*Microcontrollers"):
        convert(model(lambda x: ops.power(ops.abs(x), 1.7)), target="micro")
    # The converter makes one operation of several, whose names it joins.
    with pytest.raises(NotStreamableError, match=r"layer 'curve' needs GELU, .*Microcontrollers"):
        convert(model(lambda x: layers.Activation("gelu", name="curve")(x)), target="micro")


def test_types_that_tflm_lacks_are_named(convert: Any) -> None:
    """TFLM has TRANSPOSE, but not of int32."""

    def turned(x: Any) -> Any:
        ids = ops.cast(layers.Reshape((-1, 2, 3))(x), "int32")
        return layers.Permute((1, 3, 2), name="turned")(ids)

    with pytest.raises(NotStreamableError, match=r"^layer 'turned' needs TRANSPOSE of int32, .* float32, int16, int8 "):
        convert(model(turned), target="micro")


def test_what_tflm_says_of_a_failure_is_in_the_error(convert: Any) -> None:
    lacking = model(WORDS["places"], shape=(None,), dtype="int32")
    _, path = convert(lacking, verify=False)
    with pytest.raises(ArtifactError, match=r"TFLM has no operation SELECT; convert the model with target='micro'"):
        streaming.load(path, runtime="tflite_micro")
    other = model(lambda x: layers.Embedding(9, 4)(ops.where(x > 4, 4, x)), shape=(None,), dtype="int32")
    _, path = convert(other, verify=False)
    stream = streaming.load(path, runtime="tflite_micro").create_stream()
    with pytest.raises(StreamingError, match=r"operation \d+ of the graph, SELECT_V2, .*float32, but got INT32"):
        stream.feed(np.array([1, 2]))


def test_other_files_are_refused_by_the_runtime_and_the_writer(convert: Any, tmp_path: Path) -> None:
    _, path = convert(model(BUILDERS["lstm"]), chunk=4)
    with pytest.raises(InputError, match=r"the signatures .*chunk_4.*target='micro'"):
        firmware.write(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "micro.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    exec(compile("\n".join(blocks), "micro.md", "exec"), {"__name__": "guide"})
    assert main(["micro", "step.tflite", "firmware"]) == 0
    assert {path.name for path in Path("firmware").iterdir()} == set(firmware_files(text))


def firmware_files(text: str) -> list[str]:
    return re.findall(r"`([\w.]+\.(?:h|cc|md))`", text.partition("| file |")[2].partition("\n\n")[0])


def test_files_that_tflm_does_not_run_name_the_remedy(convert: Any, tmp_path: Path, capsys: Any) -> None:
    offline = model(lambda x: layers.GRU(64, return_sequences=True)(x))
    for weight in offline.weights:
        weight.assign(np.asarray(weight).astype("float16"))
    _, path = convert(offline, compact=True)
    with pytest.raises(ArtifactError, match="convert the model with target='micro'"):
        streaming.load(path, runtime="tflite_micro")
    assert main(["micro", str(path), str(tmp_path / "out")]) == 2
    assert "target='micro'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    convert(offline, target="micro")


STUBS = {
    "micro/micro_interpreter.h": """
#pragma once
#include <stddef.h>
#include <stdint.h>
enum TfLiteStatus { kTfLiteOk };
struct TfLiteTensor { union { void* raw; int32_t* i32; } data; };
namespace tflite {
struct Model {};
inline const Model* GetModel(const void*) { return nullptr; }
struct MicroOpResolver {};
struct MicroInterpreter {
  MicroInterpreter(const Model*, const MicroOpResolver&, uint8_t*, size_t) {}
  TfLiteStatus AllocateTensors() { return kTfLiteOk; }
  TfLiteStatus Invoke() { return kTfLiteOk; }
  TfLiteTensor* input(size_t) { return nullptr; }
  TfLiteTensor* output(size_t) { return nullptr; }
};
}
""",
    "micro/micro_mutable_op_resolver.h": """
#pragma once
#include "tensorflow/lite/micro/micro_interpreter.h"
namespace tflite {
template <unsigned n> struct MicroMutableOpResolver : MicroOpResolver {
METHODS
};
}
""",
    "schema/schema_generated.h": "#pragma once\n",
}


def test_a_firmware_has_all_that_it_needs(convert: Any, tmp_path: Path, capsys: Any) -> None:
    _, path = convert(model(conv_gru), target="micro", metadata={"source": {"name": "my-model"}})
    assert main(["micro", str(path), str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    source = (tmp_path / "out" / "stream.cc").read_text()
    graph = read_flatbuffer(streaming.load(path).recipe.flatbuffer).graphs[0]
    for name in {operation.name for operation in graph.operations}:
        assert name in said
    assert source.count("resolver.Add") == len({operation.name for operation in graph.operations})
    arena = int(re.search(r"kStreamArenaBytes = (\d+)", (tmp_path / "out" / "stream.h").read_text())[1])
    flatbuffer = streaming.load(path).recipe.flatbuffer
    from streaming.runtime.micro import Interpreter

    Interpreter(flatbuffer, arena_size=arena)
    with pytest.raises(RuntimeError):
        Interpreter(flatbuffer, arena_size=arena - 16)
    numbers = re.findall(r"\d+", (tmp_path / "out" / "model_data.cc").read_text().partition("{")[2])
    assert bytes(map(int, numbers)) == flatbuffer


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_the_loop_compiles_against_the_names_of_tflm(convert: Any, tmp_path: Path) -> None:
    _, path = convert(model(conv_gru), target="micro")
    firmware.write(path, tmp_path / "out")
    source = (tmp_path / "out" / "stream.cc").read_text()
    methods = "\n".join(f"  TfLiteStatus {name}() {{ return kTfLiteOk; }}" for name in re.findall(r"Add\w+", source))
    for name, text in STUBS.items():
        file = tmp_path / "tensorflow" / "lite" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("METHODS", methods))
    for name in ("stream.cc", "model_data.cc"):
        command = [
            "g++",
            "-std=c++11",
            "-Wall",
            "-Werror",
            "-fsyntax-only",
            f"-I{tmp_path}",
            str(tmp_path / "out" / name),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_firmware_refuses_ids_out_of_range(convert: Any, tmp_path: Path) -> None:
    """TFLM would read behind the end of the table."""
    _, path = convert(model(WORDS["ids"], shape=(None,), dtype="int32"), target="micro")
    firmware.write(path, tmp_path / "out")
    source = (tmp_path / "out" / "stream.cc").read_text()
    body = source[source.index("bool StreamStep(") :]
    assert re.search(r"if \((\w+)\[i\] < 0 \|\| \1\[i\] >= 9\) return false;", body[: body.index("Invoke")])
    assert "StreamStepReal" not in source


def test_names_become_no_code(convert: Any, tmp_path: Path) -> None:
    name = 'x */ int main() { system("true"); }\n#include "/etc/passwd"\\'
    _, path = convert(model(conv_gru), target="micro", metadata={"source": {"name": name}})
    firmware.write(path, tmp_path / "out")
    for file in (tmp_path / "out").glob("[sR]*"):
        named = [line for line in file.read_text().splitlines() if "system" in line or "passwd" in line]
        assert all(re.fullmatch(r"(// |# )[^*\"\\]*", line) for line in named)
    assert identifiers(
        ["x", "y_1", "a-b", "a_b", "a/b:0", "", "9", "x", "while", "arena", "state_0", "NULL", "__a"]
    ) == [
        *("x", "y_1", "a_b", "a_bx", "a_b_0", "tensor_", "tensor_9", "xx", "tensor_while", "tensor_arena"),
        *("tensor_state_0", "tensor_NULL", "tensor_a"),
    ]
    assert re.fullmatch(r"[a-z_]\w*", identifiers(['x);system("true");//'])[0])


def test_selects_become_those_that_tflm_has() -> None:
    @tf.function(input_signature=[tf.TensorSpec((1, 3), tf.float32)])
    def step(x: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.Select(condition=x > 0, x=x, y=-x)

    from tensorflow.lite.python import schema_py_generated as schema

    content = tf.lite.TFLiteConverter.from_concrete_functions([step.get_concrete_function()]).convert()
    changed = schema.ModelT.InitFromPackedBuf(content, 0)
    micro.rewrite(changed, schema)
    used = {changed.operatorCodes[op.opcodeIndex].builtinCode for op in changed.subgraphs[0].operators}
    assert schema.BuiltinOperator.SELECT not in used
    assert schema.BuiltinOperator.SELECT_V2 in used
