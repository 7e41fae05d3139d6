"""float16, dynamic int8 and full int8: on every runtime, against the float32 stream, over 10,000 steps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from test_conversion import model_of
from test_encode import LONGEST, translator

import streaming

BOUND = {"float16": 0.002, "dynamic": 0.02, "int8": 0.08}  # root mean square error, of the largest float32 value


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(3)

    def build(x: Any) -> Any:
        y = layers.Conv1D(24, 3, padding="same", activation="relu")(x)
        y = layers.GRU(32, return_sequences=True)(layers.LSTM(48, return_sequences=True)(y))
        return layers.Dense(8)(y)

    return model_of(build, 16)


@pytest.fixture(scope="module")
def sequences() -> list[np.ndarray]:
    noise = np.random.default_rng(0).normal(size=(4, 90, 16))
    found = [noise[:, 0]]
    for t in range(1, 90):
        found.append(0.8 * found[-1] + 0.6 * noise[:, t])
    return list(np.stack(found, axis=1).astype("float32"))


@pytest.mark.parametrize("quantize", sorted(BOUND))
def test_close_to_float_on_every_runtime(
    quantize: str, runtime: str, model: Any, sequences: list[np.ndarray], convert: Any
) -> None:
    report, path = convert(model, quantize=quantize, calibration=sequences[:3])
    assert report.float_verification.max_relative_error <= 1e-5
    stream = streaming.load(path, runtime=runtime).create_stream()
    got = np.concatenate([stream.feed(sequences[3]), stream.finish()])
    expected = np.asarray(model(sequences[3][None])[0])
    error = np.sqrt(np.mean((got - expected) ** 2))
    assert 0 < error < BOUND[quantize] * np.abs(expected).max()


@pytest.mark.parametrize("quantize", sorted(BOUND))
def test_drift_over_ten_thousand_steps_does_not_grow(
    quantize: str, model: Any, sequences: list[np.ndarray], convert: Any
) -> None:
    report, path = convert(model, quantize=quantize, calibration=sequences)
    drift = report.drift
    assert drift.steps == 10_000
    assert 0 < drift.rms_error < BOUND[quantize] * drift.scale
    assert drift.rms_error <= drift.max_abs_error
    assert drift.end < 1.5 * drift.begin
    assert streaming.load(path).metadata.verification["drift"]["rms_error"] == drift.rms_error


def test_calibration_that_leaves_a_tensor_at_zero_is_refused(model: Any, tmp_path: Any) -> None:
    silence = [np.zeros((20, 16), "float32")]
    with pytest.raises(streaming.StreamingError, match="calibration"):
        streaming.convert(model, tmp_path / "m.tflite", quantize="int8", calibration=silence)
    assert not list(tmp_path.iterdir())


def test_int8_activations_are_int8(model: Any, sequences: list[np.ndarray], convert: Any) -> None:
    dynamic, _ = convert(model, quantize="dynamic")
    full, _ = convert(model, quantize="int8", calibration=sequences, chunk=2)
    assert full.ops["QUANTIZE"] > dynamic.ops.get("QUANTIZE", 0)
    assert set(full.signatures) == {"step", "chunk_2"}


def test_a_translator_takes_dynamic_and_refuses_full_int8(convert: Any) -> None:
    model, options = translator("none"), {"encode": ["source"], "max_length": LONGEST}
    report, _ = convert(model, quantize="dynamic", **options)
    assert report.verification.max_relative_error < 0.1
    data = [{"source": np.ones(3, "int32"), "target": np.ones(9, "int32")}]
    with pytest.raises(streaming.InputError, match="does not go with encode; use quantize='dynamic'"):
        convert(model, quantize="int8", calibration=data, **options)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (None, "needs calibration"),
        ([], "calibration set is empty"),
        ([np.ones((9, 15), "float32")], r"calibration sequence 0.*shape \(9, 15\), expected \('steps', 16\)"),
        ([np.ones((1, 9, 16), "float32")], "without a batch axis"),
        ([{"y": np.ones((9, 16))}], r"has inputs \['y'\]"),
        ([np.array([["a"] * 16])], "is <U1"),
    ],
)
def test_bad_calibration_sets(data: Any, match: str, model: Any, tmp_path: Any) -> None:
    with pytest.raises(streaming.InputError, match=match):
        streaming.convert(model, tmp_path / "m.tflite", quantize="int8", calibration=data)
    assert not list(tmp_path.iterdir())
