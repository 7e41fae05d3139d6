"""Streams that run for long: memory, time of a step, drift; slabs that no idle stream keeps."""

from __future__ import annotations

import asyncio
import gc
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import runtime_models as models
from runtime_models import assert_same, joined, noise

import streaming
from streaming.errors import InputError, StreamingError

UNITS, INPUTS = 32, 8


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def lstm_oracle(weights: list[np.ndarray], x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[Any, Any]:
    """A step of the LSTM in float64: c' = f c + i g, h' = o tanh c', gates in Keras's order i, f, g, o."""
    kernel, recurrent, bias = weights
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
    sigmoid = lambda a: 1.0 / (1.0 + np.exp(-a))  # noqa: E731
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def endure(path: Path, steps: int) -> tuple[float, float, float]:
    """Growth of memory in bytes, time of the last tenth's median step to the first's, largest error to float64."""
    inputs = keras.Input((None, INPUTS))
    model = keras.Model(inputs, keras.layers.LSTM(UNITS, return_sequences=True)(inputs))
    streaming.convert(model, path)
    weights = [np.asarray(w, np.float64) for w in model.get_weights()]
    stream, x = streaming.load(path).create_stream(), noise(997, INPUTS)
    rows, doubles = [row[None] for row in x], x.astype(np.float64)
    h, c = np.zeros(UNITS), np.zeros(UNITS)
    times, error, before = np.full(steps, 1.0, np.float32), 0.0, 0  # every page is there at once
    for t in range(steps):
        if t == steps // 10:
            gc.collect()
            before = resident()
        begin = time.perf_counter()
        y = stream.step(rows[t % 997])
        times[t] = time.perf_counter() - begin
        h, c = lstm_oracle(weights, doubles[t % 997], h, c)
        error = max(error, float(np.abs(y[0] - h).max()))
    gc.collect()
    tenth = steps // 10
    return resident() - before, float(np.median(times[-tenth:]) / np.median(times[:tenth])), error


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_twenty_thousand_steps(tmp_path: Path) -> None:
    growth, _, error = endure(tmp_path / "lstm.tflite", 20_000)
    assert growth < 2**20
    assert error < 1e-5


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_million_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    growth, ratio, error = endure(tmp_path / "lstm.tflite", 1_000_000)
    with capsys.disabled():
        print(f"\n1,000,000 steps: {growth} bytes more, last to first tenth {ratio:.3f}, error {error:.1e}")
    assert growth < 2**20
    assert ratio < 1.1
    assert error < 1e-5


def test_idle_streams_keep_their_own_state_alone(tmp_path: Path) -> None:
    model, x = models.load(tmp_path, "filter"), noise(1, 3)
    model.step_streams([model.create_stream() for _ in range(4)], [x] * 4)
    idle = []
    for _ in range(50):
        streams = [model.create_stream() for _ in range(4)]
        model.step_streams(streams, [x] * 4)
        model.step_streams(streams, [x] * 4)
        idle.append(streams[1])
    del streams
    assert all(stream.slab is None and stream.own[0].base is None for stream in idle)
    for stream in idle:
        assert_same(stream.own[0], idle[0].own[0])


@pytest.mark.parametrize("leave", ["step", "reset", "close", "fork", "finish", "regroup"])
def test_whoever_leaves_a_slab_changes_nothing_for_the_others(tmp_path: Path, leave: str) -> None:
    model, x = models.load(tmp_path, "filter"), noise(4, 6, 3)
    streams = [model.create_stream() for _ in range(4)]
    for t in range(3):
        model.step_streams(streams, list(x[:, t : t + 1]))
    assert streams[0].slab is streams[3].slab is not None
    if leave == "regroup":
        model.step_streams([streams[2], streams[1]], [x[2, 3:4], x[1, 3:4]])
        moved = {1, 2}
    else:
        getattr(streams[1], leave)(*([x[1, 3:4]] if leave == "step" else []))
        moved = {1}
    for i in set(range(4)) - moved:
        found = streams[i].feed(x[i, 3:])["level"]
        np.testing.assert_allclose(found, models.filter_oracle(x[i])["level"][3:], rtol=1e-5, atol=1e-5)


def test_steps_allocate_nothing_that_stays(tmp_path: Path) -> None:
    stream, x = models.load(tmp_path, "filter").create_stream(), noise(1, 3)
    for _ in range(100):
        stream.step(x)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(2000):
        stream.step(x)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 4096


def test_asynchronous_calls_equal_the_others(tmp_path: Path) -> None:
    model, x = models.load(tmp_path, "filter"), noise(6, 20, 3)

    async def client(rows: np.ndarray) -> list[Any]:
        async def source() -> Any:
            for begin in range(0, 20, 3):
                await asyncio.sleep(0)
                yield rows[begin : begin + 3]

        async with model.create_stream() as stream:
            found = [outputs async for outputs in stream.arun(source())]
        with pytest.raises(StreamingError, match="closed"):
            await stream.afeed(rows)
        return found

    async def everything() -> list[Any]:
        return await asyncio.gather(*(client(rows) for rows in x))

    for rows, pieces in zip(x, asyncio.run(everything()), strict=True):
        found = joined(pieces)
        for name, expected in models.filter_oracle(rows).items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5)


def test_asynchronous_calls_keep_order_and_never_block(tmp_path: Path) -> None:
    model, x = models.load(tmp_path, "filter"), noise(30_000, 3)

    async def work() -> tuple[int, Any]:
        stream, ticks = model.create_stream(), 0
        feeding = asyncio.ensure_future(stream.afeed(x))
        while not feeding.done():
            await asyncio.sleep(0.001)
            ticks += 1
        after = model.create_stream()
        ordered = await asyncio.gather(*(after.astep(row[None]) for row in x[:20]), after.afinish())
        with pytest.raises(InputError, match="holds nan"):
            await model.create_stream().astep(np.full((1, 3), np.nan, np.float32))
        plain = [outputs async for outputs in model.create_stream().arun([x[:2], x[2:5]])]
        assert len(joined(plain)["level"]) == 5
        return ticks, joined(list(ordered))

    ticks, found = asyncio.run(work())
    assert ticks > 1  # a call that blocks lets the loop run once
    np.testing.assert_allclose(found["level"], models.filter_oracle(x[:20])["level"], rtol=1e-5, atol=1e-5)
