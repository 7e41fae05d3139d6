"""float16, dynamic int8 and full int8: on every runtime, against the float32 stream, over 10,000 steps."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from small_models import model_of
from test_encode import LONGEST, SOURCE, TARGET, translator

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
    assert report.float_verification.sequences
    stream = streaming.load(path, runtime=runtime).create_stream()
    got = np.concatenate([stream.feed(sequences[3]), stream.finish()])
    expected = np.asarray(model(sequences[3][None])[0])
    error = np.sqrt(np.mean((got - expected) ** 2))
    assert 0 < error < BOUND[quantize] * np.abs(expected).max()


@pytest.mark.slow
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
    assert streaming.load(path).metadata.verification.drift == drift


@pytest.mark.slow
def test_calibration_that_leaves_a_tensor_at_zero_is_refused(model: Any, tmp_path: Any) -> None:
    silence = [np.zeros((20, 16), "float32")]
    with pytest.raises(streaming.StreamingError, match="calibration"):
        streaming.convert(model, tmp_path / "m.tflite", quantize="int8", calibration=silence)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_int8_activations_are_int8(model: Any, sequences: list[np.ndarray], convert: Any) -> None:
    dynamic, _ = convert(model, quantize="dynamic")
    full, _ = convert(model, quantize="int8", calibration=sequences, chunk=2)
    assert full.ops["QUANTIZE"] > dynamic.ops.get("QUANTIZE", 0)
    assert set(full.signatures) == {"step", "chunk_2"}


@pytest.mark.slow
def test_outputs_of_different_delays_and_rates_have_one_drift(sequences: list[np.ndarray], convert: Any) -> None:
    x = keras.Input((None, 16))
    ahead = layers.Conv1D(4, 5, padding="same")(x)
    slow = layers.Conv1D(4, 3, strides=2, padding="causal")(x)
    model = keras.Model(x, {"ahead": ahead, "slow": slow, "now": layers.LSTM(6, return_sequences=True)(x)})
    report, path = convert(model, quantize="int8", calibration=sequences)
    assert 0 < report.drift.rms_error < BOUND["int8"] * report.drift.scale
    data = np.concatenate(sequences)
    stream, expected = streaming.load(path).create_stream(), model(data[None])
    got = [stream.feed(data), stream.finish()]
    for name, rows in expected.items():
        error = np.abs(np.concatenate([piece[name] for piece in got]) - np.asarray(rows)[0])
        assert error.max() <= 1.5 * report.drift.max_abs_error


@pytest.mark.slow
def test_chunks_are_calibrated_on_sequences_a_little_longer(
    model: Any, sequences: list[np.ndarray], convert: Any
) -> None:
    short = [sequence[begin : begin + 12] for sequence in sequences for begin in range(0, 72, 12)]
    _, path = convert(model, quantize="int8", calibration=short, chunk=10)
    stream = streaming.load(path).create_stream()
    got = np.concatenate([*(stream.step(part) for part in np.split(sequences[0], 9)), stream.finish()])
    expected = np.asarray(model(sequences[0][None])[0])
    error = np.sqrt(np.mean((got - expected) ** 2))
    # A signature that no sample reached would stay in float32, without any error.
    assert 0.001 * np.abs(expected).max() < error < BOUND["int8"] * np.abs(expected).max()
    with pytest.raises(streaming.InputError, match="has 9 steps, a chunk 10; give a longer one"):
        convert(model, quantize="int8", calibration=[sequence[:9] for sequence in sequences], chunk=10)


@pytest.mark.slow
def test_batches_of_streams_in_int8(model: Any, sequences: list[np.ndarray], convert: Any) -> None:
    _, path = convert(model, quantize="int8", calibration=sequences, batch_sizes=(1, 4))
    loaded = streaming.load(path)
    streams = [loaded.create_stream() for _ in sequences]
    steps = [loaded.step_streams(streams, [s[t : t + 1] for s in sequences]) for t in range(90)]
    for index, sequence in enumerate(sequences):
        got = np.concatenate([rows[index] for rows in steps])
        expected = np.asarray(model(sequence[None])[0])[: len(got)]
        assert np.sqrt(np.mean((got - expected) ** 2)) < BOUND["int8"] * np.abs(expected).max()


def test_a_model_too_fine_for_int8_is_refused_with_the_remedy(sequences: list[np.ndarray], convert: Any) -> None:
    model = model_of(lambda x: layers.GlobalAveragePooling1D()(layers.Dense(4)(x)), 16)
    with pytest.raises(streaming.ParityError, match="no file was written; 'int8' is too coarse for the model"):
        convert(model, quantize="int8", calibration=[sequence[:9] for sequence in sequences], tolerance=0.001)


def long_memory(x: Any) -> Any:
    layer = layers.LSTM(24, return_sequences=True)
    y = layer(x)
    kernel, recurrent, bias = layer.get_weights()
    bias[24:48] = 4.0  # forget gates stay open: each step adds less than a 256th of the cell's range
    layer.set_weights([kernel, recurrent, bias])
    return layers.Dense(4)(y)


@pytest.mark.parametrize(
    "build", [long_memory, lambda x: layers.GlobalAveragePooling1D()(layers.Dense(8, activation="relu")(x))]
)
def test_long_memories_survive_int8(build: Any, sequences: list[np.ndarray], convert: Any) -> None:
    keras.utils.set_random_seed(1)
    report, path = convert(model_of(build, 16), quantize="int8", calibration=sequences)
    # The arithmetic of states is float32; with all of it in int8 both were off by more than 0.15.
    assert report.drift.rms_error < 0.1 * report.drift.scale
    for details in streaming.load(path).metadata.packs:
        assert details.dtype == "float32"


@pytest.mark.slow
def test_float32_over_ten_thousand_steps_equals_offline(convert: Any) -> None:
    def build(x: Any) -> Any:
        y = layers.GRU(8, return_sequences=True)(layers.Conv1D(6, 3, padding="same")(x))
        return layers.Concatenate()([y, layers.LSTM(8, return_sequences=True)(y)])

    keras.utils.set_random_seed(2)
    model = model_of(build, 4)
    _, path = convert(model)
    x = np.random.default_rng(0).normal(size=(10_000, 4)).astype("float32")
    stream = streaming.load(path).create_stream()
    got = np.concatenate([stream.feed(x), stream.finish()])
    error = np.abs(got - np.asarray(model(x[None])[0]))
    assert error.max() < 1e-5
    assert error[-1000:].max() < 3 * error[:1000].max()


@pytest.mark.slow
@pytest.mark.parametrize("quantize", [None, "dynamic"])
def test_an_embedding_costs_one_row_a_step(quantize: str | None, runtime: str, convert: Any) -> None:
    ids = keras.Input((None,), dtype="int32")
    times = []
    for rows in (100, 100_000):
        table = layers.Embedding(rows, 32)(ids)
        model = keras.Model(ids, layers.GRU(8, return_sequences=True)(table))
        report, path = convert(model, quantize=quantize, verify=False)
        stream, x = streaming.load(path, runtime=runtime).create_stream(), np.zeros(1, "int32")
        samples = []
        for _ in range(50):
            begin = time.perf_counter()
            stream.step(x)
            samples.append(time.perf_counter() - begin)
        times.append(min(samples))
    assert report.size_bytes < 100_000 * 32 * (5 if quantize is None else 1.3)
    # Reading the whole of the large table would take hundreds of microseconds.
    assert times[1] < 5 * times[0] + 2e-5


@pytest.mark.slow
def test_a_translator_is_quantized_in_every_way(convert: Any, runtime: str) -> None:
    model, options = translator("none"), {"encode": ["source"], "max_length": LONGEST}
    report, _ = convert(model, quantize="dynamic", **options)
    assert report.verification.max_relative_error < 0.1
    halves, _ = convert(model, quantize="float16", **options)  # matrices so small stay float32 in "dynamic"
    assert halves.drift.steps == 10_000
    assert 0 < halves.drift.rms_error < BOUND["float16"] * halves.drift.scale
    assert halves.drift.end < 2 * halves.drift.begin
    generator, data = np.random.default_rng(0), []
    for length in (LONGEST, 1, 3, 5, 2, 6):
        source, target = generator.integers(1, SOURCE, length), generator.integers(0, TARGET, 20)
        data.append({"source": source.astype("int32"), "target": target.astype("int32")})
    report, path = convert(model, quantize="int8", calibration=data[:5], **options)
    assert report.ops["QUANTIZE"] > 20
    assert report.drift.end < 2 * report.drift.begin
    stream = streaming.load(path, runtime=runtime).create_stream()
    stream.encode(data[5]["source"])
    expected = np.asarray(model([data[5]["source"][None], data[5]["target"][None]])[0])
    error = np.sqrt(np.mean((stream.feed(data[5]["target"]) - expected) ** 2))
    assert 0 < error < BOUND["int8"] * np.abs(expected).max()


@pytest.mark.slow
def test_internal_state_in_int8_is_that_outside(
    runtime: str, model: Any, sequences: list[np.ndarray], convert: Any
) -> None:
    report, path = convert(model, quantize="int8", calibration=sequences[:3], state="internal")
    assert report.drift.end < 1.5 * report.drift.begin
    assert report.ops["QUANTIZE"] > 2
    stream = streaming.load(path, runtime=runtime).create_stream()
    expected = np.asarray(model(sequences[3][None])[0])
    for _ in range(2):
        stream.reset()
        got = np.concatenate([stream.feed(sequences[3]), stream.finish()])
        error = np.sqrt(np.mean((got - expected) ** 2))
        assert 0 < error < BOUND["int8"] * np.abs(expected).max()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (None, "needs calibration"),
        ([], "calibration set is empty"),
        ([np.ones((9, 15), "float32")], r"calibration sequence 0.*shape \(9, 15\), expected \('steps', 16\)"),
        ([np.ones((1, 9, 16), "float32")], "without a batch axis"),
        ([{"y": np.ones((9, 16))}], r"has inputs \['y'\]"),
        ([np.array([["a"] * 16])], "is <U1"),
        ([np.full((9, 16), np.nan)], "calibration sequence 0: input .* holds NaN, infinity or what"),
        (np.ones((9, 16), "float32"), "give a list of sequences"),
        (9, "calibration is int, expected a list"),
    ],
)
def test_bad_calibration_sets(data: Any, match: str, model: Any, tmp_path: Any) -> None:
    with pytest.raises(streaming.InputError, match=match):
        streaming.convert(model, tmp_path / "m.tflite", quantize="int8", calibration=data)
    assert not list(tmp_path.iterdir())


def test_ids_outside_the_table_and_unequal_lengths_are_refused(convert: Any) -> None:
    ids, x = keras.Input((None,), dtype="int32", name="ids"), keras.Input((None, 3), name="x")
    both = layers.Concatenate()([layers.Embedding(9, 4)(ids), x])
    model = keras.Model([ids, x], layers.GRU(3, return_sequences=True)(both))
    for numbers, match in ((np.full(7, 9), "ids from 9 to 9, expected 0 to 8"), (np.zeros(6, "int32"), "lengths")):
        data = [{"ids": numbers, "x": np.ones((7, 3), "float32")}]
        with pytest.raises(streaming.InputError, match=match):
            convert(model, quantize="int8", calibration=data)
