"""int8 inputs, outputs and states on TensorFlow Lite for Microcontrollers, beside the float32 model."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import streaming
from rnnzoo.layers import LogMelFrontEnd
from streaming.conversion.rollout import _agreement, _repeated, check_drift
from streaming.errors import InputError, ParityError
from streaming.runtime.audio import LogMel
from streaming.runtime.facts import Drift

pytest.importorskip("tflite_micro", reason="tflite-micro is not installed for this Python")
from streaming import firmware


def smooth(seed: int, steps: int, width: int = 6) -> np.ndarray:
    """A sequence (T, D) of deviation 1 that changes slowly, as those of sensors."""
    noise = np.random.default_rng(seed).normal(size=(steps, width))
    for t in range(1, steps):
        noise[t] = 0.8 * noise[t - 1] + 0.6 * noise[t]
    return noise.astype("float32")


SEQUENCES = [smooth(seed, 80) for seed in range(3)]


def model(build: Any, **shape: Any) -> Any:
    keras.utils.set_random_seed(0)
    x = keras.Input(**{"shape": (None, 6), **shape})
    return keras.Model(x, build(x))


def long_memory(x: Any) -> Any:
    """Forget gates that stay open: one step adds less to a cell than a 256th of its range."""
    layer = layers.LSTM(16, return_sequences=True)
    y = layer(layers.Conv1D(8, 3, padding="same", activation="relu")(x))
    kernel, recurrent, bias = layer.get_weights()
    bias[16:32] = 4.0
    layer.set_weights([kernel, recurrent / 4, bias])
    return layers.Dense(4)(layers.GRU(8, return_sequences=True)(y))


def types(meta: Any) -> set[str]:
    """The dtypes of all that crosses the boundary, without flags."""
    return {info.dtype for info in (*meta.inputs, *meta.outputs, *meta.packs)}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    path = tmp_path_factory.mktemp("micro") / "int8.tflite"
    offline = model(long_memory)
    return offline, streaming.convert(offline, path, target="micro", quantize="int8", calibration=SEQUENCES), path


def test_a_long_stream_decides_as_the_float32_model(converted: Any) -> None:
    offline, report, path = converted
    loaded = streaming.load(path, runtime="tflite_micro")
    assert types(loaded.metadata) == {"int8"}
    assert report.verification.runtime == "tflite_micro"
    assert all(slot.scale for slot in loaded.metadata.slots)
    # With 8 bits a state the cells below lose what a step adds: 0.3 of the scale.
    assert report.drift.rms_error < 0.03 * report.drift.scale
    assert report.drift.end < 1.5 * report.drift.begin
    x = smooth(9, 3000)
    stream = loaded.create_stream()
    rows = np.concatenate([stream.feed(x), stream.finish()])
    assert rows.dtype == np.int8
    found, expected = loaded.metadata.outputs[0].dequantize(rows), offline.predict(x[None], verbose=0)[0]
    error = np.abs(found - expected)
    scale = np.abs(expected).max()
    assert error.max() < 0.15 * scale
    tenth = len(error) // 10
    assert error[-tenth:].mean() < 1.5 * error[:tenth].mean()
    top = np.sort(expected, axis=1)
    clear = top[:, -1] - top[:, -2] > 0.1 * scale
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(found.argmax(axis=1)[clear], expected.argmax(axis=1)[clear])


def test_integers_and_real_numbers_are_the_same_input(converted: Any) -> None:
    _, _, path = converted
    loaded = streaming.load(path)
    (info,) = loaded.metadata.inputs
    x = smooth(3, 12)
    stream, other = loaded.create_stream(), loaded.create_stream()
    rows = stream.feed(x[:7])
    np.testing.assert_array_equal(other.feed(info.quantize(x[:7])), rows)
    again = loaded.restore(stream.save())
    np.testing.assert_array_equal(again.feed(x[7:]), stream.feed(x[7:]))
    x[3, 1] = np.nan
    with pytest.raises(InputError, match=r"holds nan at \(3, 1\), expected finite numbers; clean it$"):
        loaded.create_stream(nan="pass").feed(x)


def test_tflm_and_litert_give_the_same_integers(converted: Any) -> None:
    _, _, path = converted
    rows = [
        streaming.load(path, runtime=name).create_stream().feed(smooth(4, 300)) for name in ("tflite_micro", "auto")
    ]
    assert np.abs(rows[0].astype(int) - rows[1]).max() <= 3


@pytest.mark.slow
def test_a_count_that_grows_without_end_stays_in_float32(convert: Any) -> None:
    offline = model(lambda x: layers.GlobalAveragePooling1D()(layers.Dense(4, activation="relu")(x)))
    report, path = convert(
        offline,
        target="micro",
        quantize="int8",
        calibration=SEQUENCES,
        verify=False,
    )
    meta = streaming.load(path).metadata
    assert [slot.dtype for slot in meta.slots if slot.name.endswith("count")] == ["float32"]
    assert {slot.dtype for slot in meta.slots if "value" in slot.name} == {"int8"}
    assert any("stay in float32" in note and "count" in note for note in report.notes)
    x = smooth(6, 1000)
    (info,) = meta.outputs
    rows = info.dequantize(streaming.load(path, runtime="tflite_micro").create_stream().feed(x))
    expected = np.asarray(offline(x[None]))[0]
    assert np.abs(rows[-1] - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.slow
def test_windows_of_recurrent_layers(convert: Any) -> None:
    """Their loops, in which TensorFlow's calibrator crashes, stay in float32."""
    offline = model(lambda x: layers.Dense(3)(layers.GRU(4)(layers.Conv1D(5, 3)(x))), shape=(12, 6))
    report, path = convert(offline, target="micro", quantize="int8", calibration=SEQUENCES, verify=False)
    x = smooth(5, 20)
    expected = np.stack([np.asarray(offline(x[k : k + 12][None]))[0] for k in range(9)])
    for runtime in ("auto", "tflite_micro"):
        loaded = streaming.load(path, runtime=runtime)
        rows = loaded.metadata.outputs[0].dequantize(loaded.create_stream().feed(x))
        assert np.abs(rows - expected).max() < 0.1 * np.abs(expected).max()
    assert types(loaded.metadata) == {"int8"}
    assert any("in loops" in note for note in report.notes)


@pytest.mark.slow
def test_samples_for_a_front_end_in_the_graph_are_those_of_16_bits(convert: Any) -> None:
    mel = LogMel(8000, 200, 80, 256, 12, 60.0, 3800.0)
    offline = model(
        lambda x: layers.Dense(3)(layers.GRU(8, return_sequences=True)(LogMelFrontEnd(mel)(x))), shape=(None, 80)
    )
    sound = [0.9 * np.sin(np.cumsum(smooth(seed, 4000, 1))).reshape(-1, 80) for seed in range(3)]
    _, path = convert(offline, target="micro", quantize="int8", calibration=sound[:2], verify=False)
    loaded = streaming.load(path, runtime="tflite_micro")
    (info,) = loaded.metadata.inputs
    assert (info.dtype, info.scale, info.zero_point) == ("int16", 2.0**-15, 0)
    samples = np.rint(sound[2] * 2**15).astype("int16")
    rows = loaded.metadata.outputs[0].dequantize(loaded.create_stream().feed(samples))
    expected = np.asarray(offline((samples / np.float32(2**15))[None]))[0]
    assert np.abs(rows - expected).max() < 0.1 * np.abs(expected).max()


def test_a_model_loaded_for_real_numbers_gives_them(converted: Any) -> None:
    """Code for a float32 file runs an int8 one: the same calls, real numbers in and out."""
    _, _, path = converted
    x, whole = smooth(7, 21), streaming.load(path)
    stream = whole.create_stream()
    expected = whole.metadata.outputs[0].dequantize(np.concatenate([stream.feed(x), stream.finish()]))
    for runtime in ("auto", "tflite_micro"):
        model = streaming.load(path, runtime=runtime, real=True)
        first, second = model.create_stream(), model.create_stream()
        rows = [first.feed(x[:0]), first.step(x[:1]), first.step(x[1:2]), first.feed(x[2:9])]
        second.feed(x[:9])
        rows.append(model.step_streams([first, second], [x[9:10], x[9:10]])[0])
        first = model.restore(first.save())
        rows += [first.feed(x[10:]), first.finish()]
        assert {array.dtype for array in rows} == {np.dtype("float32")}
        found = np.concatenate(rows)
        if runtime == "auto":
            np.testing.assert_array_equal(found, expected)
        else:
            assert np.abs(found - expected).max() <= 3 * whole.metadata.outputs[0].scale + 1e-6
        np.testing.assert_array_equal(model.metadata.outputs[0].dequantize(found), found)


def test_the_share_of_the_same_decisions_is_stated(converted: Any) -> None:
    _, report, path = converted
    assert 0.9 < report.drift.same <= 1
    assert streaming.load(path).metadata.verification.drift.same == report.drift.same


def test_decisions_are_those_of_labels_and_probabilities() -> None:
    labels = np.array([[0, 1, 0], [2, 1, 0], [0, 1, 3], [5, 1, 0]])
    assert _agreement([labels], [labels + 2 * np.eye(4, 3, 2)]) == 0.75
    chances = np.array([[0.1], [0.6], [0.4], [0.9]])
    assert _agreement([chances], [chances + 0.15]) == 0.75
    assert _agreement([labels, chances], [labels, chances - 0.15]) == 0.75
    # Neither single measures nor forecasts of several steps decide anything.
    assert _agreement([10 * chances], [chances]) is None
    assert _agreement([np.ones((4, 2, 3))], [np.zeros((4, 2, 3))]) is None


def test_the_ends_of_the_long_stream_have_the_same_inputs() -> None:
    rows = _repeated([np.arange(700), np.arange(10_000, 14_000)])
    assert len(rows) == 10_000
    np.testing.assert_array_equal(rows[-1000:], rows[:1000])
    assert len(np.unique(rows)) == 4700


def test_an_error_that_grows_is_refused() -> None:
    steady = Drift(10_000, max_abs_error=1, rms_error=0.1, begin=0.1, end=0.19, scale=1)
    check_drift(steady)
    # Small errors may grow: from one of 1 % of the values to one of 4 %.
    check_drift(dataclasses.replace(steady, begin=0.01, end=0.04))
    with pytest.raises(ParityError, match=r"its error is 0\.1 at the beginning and 0\.21 after 9,000 steps .*float32"):
        check_drift(dataclasses.replace(steady, end=0.21))


CALLS = """
#include <stdio.h>
#include "out/stream.h"
int main() {
  if (!StreamSetup()) return 1;
  float x[6], y[4];
  while (fread(x, sizeof(float), 6, stdin) == 6) {
    if (!StreamStepReal(ARGUMENTS)) return 2;
    fwrite(y, sizeof(float), 4, stdout);
  }
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_a_firmware_takes_and_gives_real_numbers(converted: Any, tmp_path: Path) -> None:
    """Against an interpreter that gives the first four integers of its first input."""
    _, _, path = converted
    firmware.write(path, tmp_path / "out")
    meta = streaming.load(path).metadata
    header = (tmp_path / "out" / "stream.h").read_text()
    assert re.search(r"StreamStepReal\(const float\* \w+, int32_t valid, float\* \w+\);", header)
    places = streaming.load(path, runtime="tflite_micro").engines.get().interpreter.places()
    (taken,), (given,) = meta.inputs, meta.outputs
    write_stubs(tmp_path, places[0][taken.name], places[1][given.name])
    (tmp_path / "main.cc").write_text(CALLS.replace("ARGUMENTS", "x, 1, y"))
    sources = [tmp_path / "main.cc", tmp_path / "out" / "stream.cc", tmp_path / "out" / "model_data.cc"]
    command = ["g++", "-std=c++11", "-Wall", "-Werror", f"-I{tmp_path}", "-o", tmp_path / "run", *sources]
    subprocess.run(list(map(str, command)), check=True)
    x = np.random.default_rng(0).normal(scale=3, size=(40, 6)).astype("float32")
    x[0] = [1e30, -1e30, np.nan, 0, 0.5 * taken.scale, -0.5 * taken.scale]
    done = subprocess.run([tmp_path / "run"], input=x.tobytes(), capture_output=True, check=True)
    rows = np.frombuffer(done.stdout, np.float32).reshape(-1, 4)
    integers = taken.quantize(np.where(np.isnan(x), -1e30, x))[:, :4]
    np.testing.assert_allclose(rows, given.dequantize(integers), rtol=1e-6, atol=1e-6)


def write_stubs(folder: Path, taken: int, given: int) -> None:
    """The names of TFLM that a firmware uses."""
    interpreter = """
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>
enum TfLiteStatus { kTfLiteOk };
struct TfLiteTensor { union { void* raw; int32_t* i32; } data; };
namespace tflite {
struct Model {};
inline const Model* GetModel(const void*) { return nullptr; }
struct MicroOpResolver {};
struct MicroInterpreter {
  char into[64][4096], out_of[64][4096];
  TfLiteTensor tensor;
  MicroInterpreter(const Model*, const MicroOpResolver&, uint8_t*, size_t) {}
  TfLiteStatus AllocateTensors() { return kTfLiteOk; }
  TfLiteStatus Invoke() { memcpy(out_of[GIVEN], into[TAKEN], 4096); return kTfLiteOk; }
  TfLiteTensor* input(size_t i) { tensor.data.raw = into[i]; return &tensor; }
  TfLiteTensor* output(size_t i) { tensor.data.raw = out_of[i]; return &tensor; }
};
}
"""
    source = (folder / "out" / "stream.cc").read_text()
    methods = "\n".join(f"  TfLiteStatus {name}() {{ return kTfLiteOk; }}" for name in re.findall(r"Add\w+", source))
    resolver = f"""
#pragma once
#include "tensorflow/lite/micro/micro_interpreter.h"
namespace tflite {{
template <unsigned n> struct MicroMutableOpResolver : MicroOpResolver {{
{methods}
}};
}}
"""
    stubs = {
        "micro/micro_interpreter.h": interpreter.replace("GIVEN", str(given)).replace("TAKEN", str(taken)),
        "micro/micro_mutable_op_resolver.h": resolver,
        "schema/schema_generated.h": "#pragma once\n",
    }
    for name, text in stubs.items():
        file = folder / "tensorflow" / "lite" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_a_firmware_names_the_scales(converted: Any, tmp_path: Path) -> None:
    _, _, path = converted
    firmware.write(path, tmp_path)
    meta = streaming.load(path).metadata
    header, source = ((tmp_path / name).read_text() for name in ("stream.h", "stream.cc"))
    (scale,) = (float(text) for text in re.findall(r"constexpr float kStreamKerasTensor\w*Scale = (.*)f;", header))
    assert scale == pytest.approx(meta.inputs[0].scale, rel=1e-6)
    assert f"ZeroPoint = {meta.outputs[0].zero_point};" in header
    assert "const int8_t* keras_tensor" in header
    assert source.count("int8_t state_") == len(meta.packs)
    assert f"{meta.inputs[0].scale!r} * (value - {meta.inputs[0].zero_point})" in (tmp_path / "README.md").read_text()
