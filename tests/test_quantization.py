"""float16, dynamic int8 and full int8: on every runtime, against the float32 stream, over 10,000 steps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from test_conversion import model_of
from test_encode import LONGEST, SOURCE, TARGET, translator

import streaming

BOUND = {"float16": 0.01, "dynamic": 0.05, "int8": 0.15}  # of the largest float32 value


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
    generator = np.random.default_rng(0)
    return [0.2 * np.cumsum(generator.normal(size=(90, 16)), axis=0).astype("float32") for _ in range(4)]


@pytest.mark.parametrize("quantize", sorted(BOUND))
def test_close_to_float_on_every_runtime(
    quantize: str, runtime: str, model: Any, sequences: list[np.ndarray], convert: Any
) -> None:
    report, path = convert(model, quantize=quantize, calibration=sequences[:3])
    assert report.float_verification.max_relative_error <= 1e-5
    stream = streaming.load(path, runtime=runtime).create_stream()
    got = np.concatenate([stream.feed(sequences[3]), stream.finish()])
    expected = np.asarray(model(sequences[3][None])[0])
    error = np.abs(got - expected).max()
    assert 0 < error < BOUND[quantize] * np.abs(expected).max()


@pytest.mark.parametrize("quantize", sorted(BOUND))
def test_drift_over_ten_thousand_steps_does_not_grow(
    quantize: str, model: Any, sequences: list[np.ndarray], convert: Any
) -> None:
    report, path = convert(model, quantize=quantize, calibration=sequences)
    drift = report.drift
    assert drift.steps == 10_000
    assert 0 < drift.rms_error <= drift.max_abs_error < BOUND[quantize] * max(drift.scale, 0.5)
    assert drift.end < 1.5 * drift.begin
    assert streaming.load(path).metadata.verification["drift"]["rms_error"] == drift.rms_error


def test_the_states_of_real_roll_outs_calibrate_better_than_zeros(
    model: Any, sequences: list[np.ndarray], convert: Any, monkeypatch: Any
) -> None:
    from streaming.runtime.stream import Stream

    real, _ = convert(model, quantize="int8", calibration=sequences)
    feed = Stream.feed

    def forgetful(self: Any, x: Any) -> Any:
        out = feed(self, x)
        self.reset()
        return out

    import streaming.conversion.convert as module

    sampler = module.sampler

    def zeros(*args: Any) -> Any:
        samples = sampler(*args)

        def run() -> Any:
            monkeypatch.setattr(Stream, "feed", forgetful)
            yield from samples()
            monkeypatch.setattr(Stream, "feed", feed)

        return run

    monkeypatch.setattr(module, "sampler", zeros)
    blind, _ = convert(model, quantize="int8", calibration=sequences, tolerance=10.0)
    assert real.drift.rms_error < 0.7 * blind.drift.rms_error


def test_int8_activations_are_int8(model: Any, sequences: list[np.ndarray], convert: Any) -> None:
    dynamic, _ = convert(model, quantize="dynamic")
    full, _ = convert(model, quantize="int8", calibration=sequences, chunk=2)
    assert full.ops["QUANTIZE"] > dynamic.ops.get("QUANTIZE", 0)
    assert set(full.signatures) == {"step", "chunk_2"}


def test_a_translator_in_int8(convert: Any) -> None:
    generator = np.random.default_rng(0)
    data = [
        {
            "source": generator.integers(1, SOURCE, generator.integers(2, LONGEST)),
            "target": generator.integers(0, TARGET, 12),
        }
        for _ in range(8)
    ]
    model = translator("none", masked=False)
    report, _ = convert(model, quantize="int8", calibration=data, encode=["source"], max_length=LONGEST)
    assert report.verification.max_relative_error < 0.3


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
