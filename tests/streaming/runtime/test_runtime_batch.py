"""Many streams of one model: batches, threads, forked processes, one stream's NaN."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runtime_models as models
from runtime_models import assert_same, noise

from streaming.errors import InputError, StreamingError
from streaming.runtime.metadata import OutputInfo

Load = Callable[..., Any]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """load(name, runtime, **changes of the metadata) -> the tiny model of that name."""
    return functools.partial(models.load, tmp_path)


def alone(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    """Step a fresh stream through x, one step at a time."""
    stream = model.create_stream(nan="pass")
    found = [stream.step(row[None]) for row in x]
    return {name: np.concatenate([rows[name] for rows in found]) for name in found[0]}


def together(model: Any, x: np.ndarray, streams: list[Any]) -> list[dict[str, np.ndarray]]:
    """Step streams through x (streams, T, features) in one call a step."""
    found = [model.step_streams(streams, list(x[:, t : t + 1])) for t in range(x.shape[1])]
    return [
        {name: np.concatenate([step[i][name] for step in found]) for name in found[0][i]} for i in range(len(streams))
    ]


@pytest.mark.parametrize("count", [1, 2, 4, 5, 11])
def test_together_equals_alone(load: Load, runtime: str, count: int) -> None:
    model, x = load("filter", runtime), noise(count, 6, 3)
    streams = [model.create_stream() for _ in range(count)]
    for stream, found, row in zip(streams, together(model, x, streams), x, strict=True):
        expected = alone(model, row)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(stream.finish()["smooth"], models.filter_oracle(row)["smooth"][4:], atol=1e-5)
        assert stream.position == 6


def test_neighbours_make_no_difference_on_one_batch_signature(load: Load, runtime: str) -> None:
    model, x = load("filter", runtime), noise(4, 6, 3)
    four = together(model, x, [model.create_stream() for _ in range(4)])
    three = together(model, x[1:], [model.create_stream() for _ in range(3)])
    for found, expected in zip(three, four[1:], strict=True):
        assert_same(found, expected)


def test_streams_join_leave_and_change_places(load: Load) -> None:
    model, generator = load("filter"), np.random.default_rng(0)
    streams = [model.create_stream() for _ in range(6)]
    x, at = noise(6, 40, 3), [0] * 6
    found: list[list[np.ndarray]] = [[] for _ in streams]
    for turn in range(30):
        members = generator.permutation(6)[: generator.integers(1, 7)]
        if turn % 3 == 0:
            streams[members[0]] = model.restore(streams[members[0]].save()).fork()
        rows = [x[i, at[i] : at[i] + 1] for i in members]
        if turn % 5 == 0:
            results = [streams[i].step(row) for i, row in zip(members, rows, strict=True)]
        else:
            results = model.step_streams([streams[i] for i in members], rows)
        for i, result in zip(members, results, strict=True):
            at[i] += 1
            found[i].append(result["level"])
    for i, pieces in enumerate(found):
        expected = models.filter_oracle(x[i, : at[i]])["level"]
        np.testing.assert_allclose(np.concatenate(pieces), expected, rtol=1e-5, atol=1e-5)


def test_positions_and_warm_up_of_streams_that_step_together(load: Load) -> None:
    late = (OutputInfo("y", (2,), "float32", start=2, end=2),)
    model, generator = load("lookup", outputs=late, delay=2, flush=2), np.random.default_rng(1)
    streams = [model.create_stream() for _ in range(5)]
    twins = [model.create_stream() for _ in range(5)]
    for _ in range(120):
        members = range(5) if generator.random() < 0.6 else sorted(generator.permutation(5)[: generator.integers(2, 5)])
        ids = generator.integers(0, 7, (len(members), 1), np.int32)
        found = model.step_streams([streams[i] for i in members], ids if generator.random() < 0.5 else list(ids))
        for i, x, rows in zip(members, ids, found, strict=True):
            assert_same(rows, twins[i].step(x))
        i = int(generator.integers(5))
        change = generator.choice(["none", "position", "save", "feed", "finish", "fork", "reset", "state"])
        if change == "position":
            assert streams[i].position == twins[i].position
        elif change == "save":
            assert streams[i].save() == twins[i].save()
        elif change == "feed":
            assert_same(streams[i].feed(ids[0]), twins[i].feed(ids[0]))
        elif change == "finish":
            assert_same(streams[i].finish(), twins[i].finish())
            streams[i].reset(), twins[i].reset()
        elif change == "fork":
            streams[i], twins[i] = streams[i].fork(), twins[i].fork()
        elif change == "reset":
            streams[i].reset(), twins[i].reset()
        elif change == "state":
            streams[i].go_back(streams[i].snapshot())
    assert [stream.position for stream in streams] == [twin.position for twin in twins]


def test_all_inputs_in_one_array(load: Load) -> None:
    model, x = load("lookup"), np.arange(12, dtype=np.int32).reshape(3, 4) % 7
    streams, others = ([model.create_stream() for _ in x] for _ in range(2))
    for t in range(4):
        expected = model.step_streams(others, list(x[:, t : t + 1]))
        for given in (x[:, t : t + 1], x[:, t : t + 1].astype(np.int64)):
            before = [stream.fork() for stream in streams]
            for rows, other in zip(model.step_streams(before, given), expected, strict=True):
                assert_same(rows, other)
        model.step_streams(streams, x[:, t : t + 1])
    with pytest.raises(InputError, match=r"stream 0 of the batch: input 'ids' has shape \(2,\)"):
        model.step_streams(streams, x[:, :2])
    with pytest.raises(InputError, match="stream 1 of the batch: input 'ids' holds 9"):
        model.step_streams(streams, np.array([[1], [9], [2]], np.int32))
    with pytest.raises(InputError, match="3 streams and 2 inputs"):
        model.step_streams(streams, x[:2, :1])


def test_inputs_without_time_and_waiting_rows(load: Load) -> None:
    model, x, gains = load("pairs"), noise(3, 4, 2), [1.0, 2.0, 3.0]
    streams = [model.create_stream() for _ in gains]
    found: list[list[np.ndarray]] = [[], [], []]
    for begin in (0, 2):
        inputs = [{"x": row[begin : begin + 2], "gain": [g]} for row, g in zip(x, gains, strict=True)]
        for pieces, rows in zip(found, model.step_streams(streams, inputs), strict=True):
            pieces.append(rows)
    for pieces, stream, row, gain in zip(found, streams, x, gains, strict=True):
        pieces.append(stream.finish())
        np.testing.assert_allclose(np.concatenate(pieces), models.pairs_oracle(row, gain), rtol=1e-5)


def test_integers_and_no_streams(load: Load) -> None:
    model = load("lookup")
    streams = [model.create_stream() for _ in range(3)]
    for t in range(3):
        found = model.step_streams(streams, [np.array([i + t]) for i in range(3)])
        for i, rows in enumerate(found):
            np.testing.assert_allclose(rows, models.TABLE[[i + t]] + t, atol=1e-6)
    assert model.step_streams([], []) == []


def test_nan_in_one_stream_leaves_the_others(load: Load, runtime: str) -> None:
    model, x = load("filter", runtime), noise(4, 6, 3)
    clean = together(model, x, [model.create_stream() for _ in range(4)])
    x[2, 1] = np.nan
    streams = [model.create_stream(nan="pass") for _ in range(4)]
    dirty = together(model, x, streams)
    for i in (0, 1, 3):
        assert_same(dirty[i], clean[i])
    assert np.isnan(dirty[2]["level"][1:]).all()
    streams[2].reset()
    again = streams[2].feed(noise(4, 6, 3)[2])
    np.testing.assert_allclose(again["level"], clean[2]["level"], rtol=1e-6)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((1, 3), np.nan, np.float32), "stream 1 of the batch: input 'x' holds nan"),
        (noise(2, 3), r"stream 1 of the batch: input 'x' has shape \(2, 3\)"),
        (noise(1, 3) > 0, "stream 1 of the batch: input 'x' is bool"),
        (None, "stream 1 of the batch"),
    ],
)
def test_a_bad_input_moves_no_stream(load: Load, bad: Any, message: str) -> None:
    model, good = load("filter"), noise(1, 3)
    streams = [model.create_stream() for _ in range(3)]
    model.step_streams(streams, [good] * 3)
    before = [stream.save() for stream in streams]
    with pytest.raises(InputError, match=message):
        model.step_streams(streams, [good, bad, good])
    assert [stream.save() for stream in streams] == before


def test_each_stream_keeps_its_own_policy(load: Load) -> None:
    model, bad = load("filter"), np.full((1, 3), np.nan, np.float32)
    strict, lax = model.create_stream(), model.create_stream(nan="pass")
    model.step_streams([lax, strict], [bad, noise(1, 3)])
    with pytest.raises(InputError, match="stream 1 of the batch"):
        model.step_streams([lax, strict], [bad, bad])


def test_calls_that_make_no_sense(load: Load) -> None:
    model, x = load("filter"), noise(1, 3)
    stream = model.create_stream()
    with pytest.raises(StreamingError, match="comes twice"):
        model.step_streams([stream, stream], [x, x])
    with pytest.raises(InputError, match="1 streams and 2 inputs"):
        model.step_streams([stream], [x, x])
    with pytest.raises(StreamingError, match="another model"):
        model.step_streams([load("filter").create_stream()], [x])
    stream.close()
    with pytest.raises(StreamingError, match="stream 0 of the batch: the stream is closed"):
        model.step_streams([stream], [x])


def test_threads_equal_one_thread(load: Load, runtime: str) -> None:
    model, x = load("filter", runtime), noise(64, 20, 3)
    expected = [alone(model, row) for row in x]

    def work(part: slice) -> list[dict[str, np.ndarray]]:
        streams = [model.create_stream() for _ in x[part]]
        found: list[list[Any]] = [[] for _ in streams]
        for t in range(20):  # in turn, so that each stream's steps meet the others' in the interpreter
            for pieces, stream, row in zip(found, streams, x[part], strict=True):
                pieces.append(stream.step(row[t : t + 1]))
        return [{n: np.concatenate([p[n] for p in pieces]) for n in pieces[0]} for pieces in found]

    with ThreadPoolExecutor(8) as pool:
        parts = pool.map(work, [slice(8 * i, 8 * i + 8) for i in range(8)])
        found = [item for part in parts for item in part]
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_a_stream_goes_on_in_another_thread(load: Load) -> None:
    model, x = load("filter"), noise(8, 3)
    stream = model.create_stream()
    with ThreadPoolExecutor(1) as pool:
        found = [
            stream.step(x[t : t + 1]) if t % 2 else pool.submit(stream.step, x[t : t + 1]).result() for t in range(8)
        ]
    expected = alone(model, x)
    assert_same({name: np.concatenate([rows[name] for rows in found]) for name in expected}, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_forked_children_go_on(load: Load, runtime: str) -> None:
    model, x = load("filter", runtime, num_threads=2), noise(5, 3)
    stream = model.create_stream()
    stream.feed(x)
    expected = stream.fork().feed(x)["level"].tobytes()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, stream.feed(x)["level"].tobytes())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == expected
    assert os.waitpid(child, 0)[1] == 0
    assert stream.feed(x)["level"].tobytes() == expected
