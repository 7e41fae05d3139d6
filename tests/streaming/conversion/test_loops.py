"""Chunks whose recurrent layers run as loops, because copies of their weights would fall out of the cache."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from keras import layers
from parity import check_parity
from runtimes import RUNTIMES, installed
from small_models import model_of, randomize

import streaming
from rnnzoo.layers import IndRNNCell
from streaming.conversion import job
from streaming.inspection import describe
from streaming.runtime import artifact
from streaming.runtime.verifier import verify


def masked(x: Any) -> Any:
    kept = layers.Masking()(x)
    return layers.GRU(4, return_sequences=True)(layers.LSTM(5, return_sequences=True, zero_output_for_mask=True)(kept))


CASES = {
    "lstm": lambda x: layers.LSTM(5, return_sequences=True)(x),
    "gru-last": lambda x: layers.GRU(4)(x),
    "gru-reset-before": lambda x: layers.GRU(4, reset_after=False, return_sequences=True)(x),
    "own-cell": lambda x: layers.RNN(IndRNNCell(4), return_sequences=True)(x),
    "stacked": lambda x: layers.RNN([layers.LSTMCell(3), layers.GRUCell(4)], return_sequences=True)(x),
    "states": lambda x: layers.LSTM(4, return_sequences=True, return_state=True)(x),
    "delayed": lambda x: layers.LSTM(3)(layers.Conv1D(4, 3, padding="same")(x)),
    "frames": lambda x: layers.ConvLSTM1D(2, 3, return_sequences=True)(layers.Reshape((-1, 3, 2))(x)),
    "masked": masked,
}


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        job, "LOOP_BYTES", {kind: 0.0 if size < math.inf else size for kind, size in job.LOOP_BYTES.items()}
    )


def loops(path: Any) -> int:
    return sum(signature["operations"].get("WHILE", 0) for signature in describe(path)["signatures"].values())


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", CASES)
def test_a_loop_equals_offline(name: str, convert: Any) -> None:
    model = randomize(model_of(CASES[name]))
    _, path = convert(model, chunk=4)
    assert loops(path)
    verify(artifact.read(path).flatbuffer)
    for runtime in filter(installed, RUNTIMES):
        check_parity(model, path, runtime)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("quantize", "state", "tolerance"),
    [(None, "internal", 1e-5), ("float16", "external", 1e-2), ("dynamic", "external", 0.1)],
)
def test_loops_of_every_kind_of_file(quantize: str | None, state: str, tolerance: float, convert: Any) -> None:
    lstm, gru = layers.LSTM(8, return_sequences=True), layers.GRU(8, return_sequences=True)
    model = randomize(model_of(lambda x: gru(lstm(x))))
    batches = (1, 3) if state == "external" else (1,)
    _, path = convert(model, chunk=5, state=state, quantize=quantize, batch_sizes=batches)
    x = np.random.default_rng(0).normal(size=(len(batches), 15, 6)).astype("float32")
    expected = model.predict(x, verbose=0)
    loaded = streaming.load(path)
    if state == "internal":
        np.testing.assert_allclose(loaded.create_stream().feed(x[0]), expected[0], atol=tolerance)
        return
    streams = [loaded.create_stream() for _ in x]
    for begin in range(0, 15, 5):
        found = loaded.step_streams(streams, x[:, begin : begin + 5])
        np.testing.assert_allclose(found, expected[:, begin : begin + 5], atol=tolerance)


@pytest.mark.slow
@pytest.mark.usefixtures("always")
def test_full_int8_has_no_loops(convert: Any) -> None:
    model = randomize(model_of(lambda x: layers.LSTM(8, return_sequences=True)(x)))
    data = np.random.default_rng(0).normal(size=(4, 20, 6)).astype("float32")
    _, path = convert(model, chunk=4, quantize="int8", calibration=list(data))
    assert loops(path) == 0


@pytest.mark.slow
def test_large_layers_loop_by_themselves_and_their_steps_are_counted(convert: Any) -> None:
    found = {}
    for units, chunk in itertools.product((32, 256), (1, 10)):
        report, path = convert(model_of(lambda x, units=units: layers.LSTM(units)(x), 64), chunk=chunk)
        name = "step" if chunk == 1 else "chunk_10"
        found[units, chunk] = loops(path), report.costs[name].multiply_adds / chunk
    assert {key: count for key, (count, _) in found.items()} == {(32, 1): 0, (32, 10): 0, (256, 1): 0, (256, 10): 1}
    for (units, _), (_, adds) in found.items():
        assert adds == (64 + units) * 4 * units
