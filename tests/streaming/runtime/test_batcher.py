"""StreamBatcher: streams that come and go, from any thread, in shared invokes."""

from __future__ import annotations

import asyncio
import functools
import gc
import multiprocessing
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runtime_models as models
from runtime_models import assert_same, joined, noise

import streaming
from streaming.errors import BacklogError, InputError, StreamingError

Load = Callable[..., Any]
LONG = 30.0  # seconds for which nothing in these tests has to wait


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """load(name, runtime, **changes of the metadata) -> the tiny model of that name."""
    return functools.partial(models.load, tmp_path)


def blocked(batcher: Any, stream: Any) -> tuple[threading.Event, Future[Any]]:
    """Keep the batcher's thread busy until the event is set."""
    begun, go = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go.wait(LONG)

    future = batcher.call(stream, wait)
    assert begun.wait(LONG)
    return go, future


@pytest.mark.parametrize("options", [{}, {"max_batch": 3}, {"max_wait": 0}, {"max_batch": 1}])
def test_streams_of_all_lengths_and_cuts_equal_the_equation(load: Load, runtime: str, options: dict[str, Any]) -> None:
    model, x = load("filter", runtime, chunk=5), noise(11, 23, 3)

    def client(i: int) -> dict[str, np.ndarray]:
        time.sleep(i * 1e-3)
        stream = model.create_stream()
        cuts = np.split(x[i], sorted(np.random.default_rng(i).integers(0, 24, 6)))
        found = [batcher.submit(stream, piece).result(LONG) for piece in cuts]
        return joined([*found, batcher.finish(stream).result(LONG)])

    with streaming.StreamBatcher(model, **options) as batcher, ThreadPoolExecutor(11) as pool:
        found = list(pool.map(client, range(11)))
        metrics = batcher.metrics()
    for rows, outputs in zip(x, found, strict=True):
        for name, expected in models.filter_oracle(rows).items():
            assert outputs[name].shape == expected.shape
            np.testing.assert_allclose(outputs[name], expected, rtol=1e-5, atol=1e-5)
    assert (metrics.submitted, metrics.done, metrics.failed, metrics.pending) == (88, 88, 0, 0)
    assert metrics.rows <= metrics.capacity
    assert metrics.rows / metrics.invokes <= options.get("max_batch", 4)


def test_what_is_ready_shares_one_invoke(load: Load) -> None:
    model, x = load("lookup"), np.arange(4, dtype=np.int32)
    streams = [model.create_stream() for _ in range(4)]
    with streaming.StreamBatcher(model, max_wait=LONG) as batcher:
        for turn in range(3):  # a full batch waits for nobody
            with batcher._turns._changed:  # all are there before its thread looks, however busy the machine is
                futures = [batcher.submit(stream, x[i : i + 1]) for i, stream in enumerate(streams)]
            for i, future in enumerate(futures):
                np.testing.assert_allclose(future.result(LONG / 2), models.TABLE[[i]] + turn)
        metrics = batcher.metrics()
    assert (metrics.invokes, metrics.rows, metrics.capacity, metrics.fill) == (3, 12, 12, 1.0)
    assert metrics.to_json()["fill"] == 1.0


def test_waiting_is_bounded_and_ends_when_the_last_batch_is_back(load: Load) -> None:
    model, x = load("lookup"), np.zeros(1, np.int32)
    first, second = model.create_stream(), model.create_stream()
    with streaming.StreamBatcher(model, max_wait=LONG) as batcher:
        for _ in range(2):  # nobody else has been here, then: all of the last batch
            batcher.submit(first, x).result(LONG / 2)
    with streaming.StreamBatcher(model, max_wait=0.3) as batcher:
        batcher.submit(first, x).result(LONG)
        begin = time.monotonic()
        batcher.submit(second, x).result(LONG)  # might be joined by the first
        assert 0.3 <= time.monotonic() - begin < LONG
        assert 0.3 <= batcher.metrics().longest_wait < LONG


def test_the_calls_of_a_stream_run_in_order(load: Load) -> None:
    model, x = load("filter"), noise(40, 3)
    stream, others = model.create_stream(), [model.create_stream() for _ in range(3)]
    with streaming.StreamBatcher(model) as batcher:
        futures = [batcher.submit(stream, row[None]) for row in x]
        for other in others:
            batcher.submit(other, x)
        futures.append(batcher.finish(stream))
        again = [batcher.call(stream, stream.reset), batcher.step(stream, x[:1])]
        blob = batcher.call(stream, stream.save).result(LONG)
        found = joined([future.result(LONG) for future in futures])
    for name, expected in models.filter_oracle(x).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5)
    assert_same(again[1].result()["level"], model.create_stream().step(x[:1])["level"])
    assert model.restore(blob).position == 1


def test_a_long_call_does_not_keep_a_short_one_waiting(load: Load) -> None:
    model = load("filter")
    long, short = model.create_stream(), model.create_stream()
    invokes: list[int] = []
    with streaming.StreamBatcher(model, max_batch=1) as batcher:
        go, _ = blocked(batcher, model.create_stream())
        slow = batcher.submit(long, noise(300, 3))
        quick = [batcher.submit(short, noise(1, 3)) for _ in range(20)]
        for future in quick:  # called by the batcher's thread, in the moment in which it is done
            future.add_done_callback(lambda _: invokes.append(batcher.metrics().invokes))
        go.set()
        assert len(slow.result(LONG)["level"]) == 300
        assert batcher.metrics().invokes == 320
    # The k-th short call had to wait for one invoke of the long one before each of its own.
    assert all(count <= 2 * k for k, count in enumerate(invokes, 1))
    assert len(invokes) == 20


def test_one_stream_fails_alone(load: Load, runtime: str) -> None:
    model, x = load("filter", runtime), noise(4, 6, 3)
    streams = [model.create_stream() for _ in x]
    found: list[list[Any]] = [[] for _ in streams]
    with streaming.StreamBatcher(model) as batcher:
        for t in range(6):
            go, _ = blocked(batcher, model.create_stream())  # so that all four meet in one batch
            bad = np.full((1, 3), np.nan, np.float32)
            futures = [batcher.submit(s, bad if (i, t) == (2, 3) else x[i, t : t + 1]) for i, s in enumerate(streams)]
            go.set()
            if t == 3:
                with pytest.raises(InputError, match=r"holds nan at \(0, 0\)"):
                    futures.pop(2).result(LONG)
                futures.insert(2, batcher.submit(streams[2], x[2, 3:4]))
            for pieces, future in zip(found, futures, strict=True):
                pieces.append(future.result(LONG))
        assert batcher.metrics().failed == 1
    for pieces, row in zip(found, x, strict=True):
        np.testing.assert_allclose(joined(pieces)["level"], models.filter_oracle(row)["level"], rtol=1e-5, atol=1e-5)


def test_a_failing_invoke_fails_those_that_have_to(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("filter")
    good, bad = [model.create_stream() for _ in range(3)], model.create_stream(nan="pass")
    real = model.engines.get().__class__.run

    def run(self: Any, batch: int, chunk: int) -> Any:
        inner = real(self, batch, chunk)

        def fail_on_nan(values: Any) -> Any:
            if np.isnan(values[0]).any():
                raise StreamingError("the interpreter failed")
            return inner(values)

        return fail_on_nan

    monkeypatch.setattr(model.engines.get().__class__, "run", run)
    with streaming.StreamBatcher(model) as batcher:
        go, _ = blocked(batcher, model.create_stream())
        futures = [batcher.submit(stream, noise(2, 3)) for stream in good]
        failing = batcher.submit(bad, np.concatenate([noise(2, 3), np.full((1, 3), np.nan, np.float32)]))
        go.set()
        for future in futures:
            np.testing.assert_allclose(
                future.result(LONG)["level"], models.filter_oracle(noise(2, 3))["level"], rtol=1e-5
            )
        with pytest.raises(StreamingError, match="interpreter failed"):
            failing.result(LONG)
    assert bad.save() == model.create_stream(nan="pass").save()  # also what its first two steps did is undone


def test_backlog_cancelling_and_closing(load: Load) -> None:
    model, x = load("filter"), noise(2, 3)
    stream, other = model.create_stream(), model.create_stream()
    batcher = streaming.StreamBatcher(model, max_pending=3)
    go, _ = blocked(batcher, other)
    first, second = batcher.submit(stream, x), batcher.submit(stream, x)
    with pytest.raises(BacklogError, match="3 calls are pending, at most 3 may be; wait"):
        batcher.submit(stream, x)
    assert second.cancel()
    closing = threading.Thread(target=batcher.close)
    closing.start()
    time.sleep(0.05)
    assert not first.done()
    go.set()
    closing.join(LONG)
    assert len(first.result(0)["level"]) == 2
    assert stream.position == 2
    with pytest.raises(CancelledError):
        second.result(0)
    with pytest.raises(StreamingError, match="batcher is closed"):
        batcher.submit(stream, x)
    batcher.close()
    metrics = batcher.metrics()
    assert (metrics.done, metrics.cancelled, metrics.refused, metrics.pending) == (2, 1, 1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "max_batch is 0, expected a whole number, 1 or more"),
        ({"max_batch": True}, "max_batch is True"),
        ({"max_pending": 1.5}, "max_pending is 1.5"),
        ({"max_wait": -1}, "max_wait is -1, expected seconds"),
        ({"max_wait": float("nan")}, "max_wait is nan"),
        ({"max_wait": "1"}, "max_wait is '1'"),
    ],
)
def test_bad_options(load: Load, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        streaming.StreamBatcher(load("filter"), **options)


def test_bad_streams_and_inputs(load: Load) -> None:
    model, stream = load("filter"), load("filter").create_stream()
    with streaming.StreamBatcher(model) as batcher:
        with pytest.raises(StreamingError, match="another model"):
            batcher.submit(stream, noise(1, 3))
        own = model.create_stream()
        for bad in (noise(1, 4), "x", None, [[1.0, 2.0, 3.0], [1.0]], noise(1, 3) > 0, {"y": noise(1, 3)}):
            with pytest.raises(InputError):
                batcher.submit(own, bad).result(LONG)
        with pytest.raises(InputError, match="expected float32"):
            batcher.step(own, noise(2, 3)).result(LONG)
        assert own.save() == model.create_stream().save()
        assert len(batcher.submit(own, [[1, 2, 3]]).result(LONG)["level"]) == 1
        batcher.finish(own).result(LONG)
        with pytest.raises(StreamingError, match="finished"):
            batcher.submit(own, noise(1, 3)).result(LONG)


def test_what_the_caller_changes_afterwards_has_no_effect(load: Load) -> None:
    model, x = load("filter"), noise(5, 3)
    expected, stream = model.create_stream().feed(x), model.create_stream()
    with streaming.StreamBatcher(model) as batcher:
        go, _ = blocked(batcher, model.create_stream())
        future = batcher.submit(stream, x)
        x[:] = 7.0
        go.set()
        assert_same(future.result(LONG), expected)


def test_inputs_without_time_and_internal_state(load: Load) -> None:
    pairs, x = load("pairs"), noise(7, 2)
    with streaming.StreamBatcher(pairs) as batcher:
        stream = pairs.create_stream()
        found = [batcher.submit(stream, {"x": row[None], "gain": [1.5]}).result(LONG) for row in x]
        found.append(batcher.finish(stream).result(LONG))
    np.testing.assert_allclose(np.concatenate(found), models.pairs_oracle(x, 1.5), rtol=1e-5)
    internal, x = load("internal"), noise(3, 8, 3)
    streams = [internal.create_stream() for _ in x]
    with streaming.StreamBatcher(internal) as batcher:
        futures = [batcher.submit(stream, row) for stream, row in zip(streams, x, strict=True)]
        for future, row in zip(futures, x, strict=True):
            np.testing.assert_allclose(future.result(LONG), models.filter_oracle(row)["level"], rtol=1e-5)


def test_a_batcher_that_nobody_closes_ends_with_its_last_user(load: Load) -> None:
    before = threading.enumerate()
    model = load("filter")
    batcher = streaming.StreamBatcher(model)
    assert len(batcher.submit(model.create_stream(), noise(1, 3)).result(LONG)["level"]) == 1
    threads = [thread for thread in threading.enumerate() if thread not in before]
    assert [thread.name for thread in threads] == ["streaming-batcher"]
    asyncio.run(model.create_stream().afeed(noise(1, 3)))  # the model's own batcher
    watch = weakref.ref(model)
    del batcher, model
    # A thread that has just given a result may still hold the model for a moment.
    until = time.monotonic() + LONG
    while watch() is not None and time.monotonic() < until:
        gc.collect()
        time.sleep(0.01)
    assert watch() is None
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_forked_child_needs_its_own(load: Load) -> None:
    model, x = load("filter"), noise(5, 3)
    batcher, stream = streaming.StreamBatcher(model), model.create_stream()
    expected = batcher.submit(stream, x).result(LONG)["level"].tobytes()
    asyncio.run(model.create_stream().afeed(x))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with pytest.raises(StreamingError, match="another process"):
                batcher.submit(stream, x)
            with streaming.StreamBatcher(model) as own:
                os.write(writer, own.submit(model.create_stream(), x).result(LONG)["level"].tobytes())
            os.write(writer, asyncio.run(model.create_stream().afeed(x))["level"].tobytes())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == 2 * expected
    os.waitpid(child, 0)
    batcher.close()


def _feed_in_child(path: str, blob: bytes, x: np.ndarray) -> bytes:
    model = streaming.load(path)
    return model.restore(blob).feed(x)["level"].tobytes()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_a_pool_go_on(tmp_path: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    path, x = models.write(tmp_path / "filter.tflite", models.filter_model()), noise(6, 3)
    stream = streaming.load(path).create_stream()
    stream.feed(x)
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.starmap(_feed_in_child, [(str(path), stream.save(), x)] * 4)
    assert found == [stream.fork().feed(x)["level"].tobytes()] * 4


def test_sixty_four_streams_in_eight_threads_equal_one_thread(load: Load) -> None:
    model, x = load("lookup"), np.random.default_rng(0).integers(0, 7, (64, 30)).astype(np.int32)
    with streaming.StreamBatcher(model) as batcher, ThreadPoolExecutor(8) as pool:
        streams = [model.create_stream() for _ in x]

        def client(worker: int) -> list[Any]:
            mine = range(worker, 64, 8)
            futures = [[batcher.submit(streams[i], x[i, t : t + 1]) for t in range(30)] for i in mine]
            return [np.concatenate([future.result(LONG) for future in row]) for row in futures]

        found = list(pool.map(client, range(8)))
    for worker in range(8):
        for place, i in enumerate(range(worker, 64, 8)):
            assert_same(found[worker][place], model.create_stream().feed(x[i]))


def test_a_call_that_is_cancelled_leaves_the_stream_as_it_was_and_says_so(load: Load) -> None:
    model = load("filter")
    x = models.noise(4000, 3)

    async def cancel(seconds: float) -> tuple[str, Any]:
        stream, twin = model.create_stream(), model.create_stream()
        models.assert_same(stream.feed(x[:7]), twin.feed(x[:7]))
        task = asyncio.create_task(stream.afeed(x))
        await asyncio.sleep(seconds)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        if "has moved" in str(caught.value):
            twin.feed(x)
        models.assert_same(stream.feed(x[:9]), twin.feed(x[:9]))
        return str(caught.value), stream

    for seconds in (0.0, 0.001, 0.01, 0.03):
        said, _ = asyncio.run(cancel(seconds))
        assert said in (
            "the call was cancelled, the stream is as it was",
            "the call had finished, the stream has moved",
        )
        assert "as it was" in said or seconds > 0
