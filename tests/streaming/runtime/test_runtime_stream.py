"""One stream against the equations of its model: any cut, reset, fork, save, restore."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runtime_models as models
from runtime_models import assert_same, joined, noise

import streaming
from streaming.errors import InputError, StateMismatchError, StreamingError

Load = Callable[..., Any]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """load(name, runtime, **changes of the metadata) -> the tiny model of that name."""
    return functools.partial(models.load, tmp_path)


def cuts_of(length: int) -> list[list[int]]:
    """Whole, step by step, and cut at random."""
    generator = np.random.default_rng(length)
    random = [sorted(generator.integers(0, length + 1, 4).tolist()) for _ in range(4)]
    return [[], list(range(1, length)), *random]


def streamed(stream: Any, x: np.ndarray, cuts: list[int], **static: Any) -> Any:
    """All that comes out of a stream that is fed in pieces, then finished."""
    pieces = np.split(x, cuts)
    stream.reset()
    fed = [stream.feed({"x": piece, **static} if static else piece) for piece in pieces]
    return joined([*fed, stream.finish()])


@pytest.mark.parametrize("chunk", [1, 5])
def test_any_cut_equals_the_equation(load: Load, runtime: str, chunk: int) -> None:
    stream = load("filter", runtime, chunk=chunk).create_stream()
    for length in (0, 1, 2, 3, 7, 23):
        x = noise(length, 3, seed=length)
        expected = models.filter_oracle(x)
        for cuts in cuts_of(length):
            found = streamed(stream, x, cuts)
            assert list(found) == ["smooth", "level"]
            for name, value in expected.items():
                assert found[name].dtype == np.float32
                np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5)
                assert found[name].shape == value.shape


def test_integers_and_their_state(load: Load, runtime: str) -> None:
    stream = load("lookup", runtime).create_stream()
    for length in (0, 1, 6):
        ids = np.random.default_rng(length).integers(0, 7, length).astype(np.int32)
        for cuts in cuts_of(length):
            np.testing.assert_allclose(streamed(stream, ids, cuts), models.lookup_oracle(ids), atol=1e-6)


@pytest.mark.parametrize("chunk", [2, 6])
def test_steps_that_wait_for_a_whole_unit(load: Load, runtime: str, chunk: int) -> None:
    stream = load("pairs", runtime, chunk=chunk).create_stream()
    for length in (0, 1, 2, 5, 6, 15, 16):
        x = noise(length, 2, seed=length)
        for cuts in cuts_of(length):
            found = streamed(stream, x, cuts, gain=[1.5])
            np.testing.assert_allclose(found, models.pairs_oracle(x, 1.5), rtol=1e-5, atol=1e-6)


def test_internal_state(load: Load, runtime: str) -> None:
    model, x = load("internal", runtime), noise(9, 3)
    first, second = model.create_stream(), model.create_stream()
    expected = models.filter_oracle(x)["level"]
    for t in range(9):
        row = x[t : t + 1]
        found = first.step(row)
        np.testing.assert_allclose(found, expected[t : t + 1], rtol=1e-5)
        assert_same(model.step_streams([second], [row])[0], found)
    first.reset()
    np.testing.assert_allclose(first.feed(x), expected, rtol=1e-5)
    for refused in (first.fork, first.save):
        with pytest.raises(StreamingError, match="state='external'"):
            refused()


def test_step_takes_a_chunk_and_gives_what_is_ready(load: Load) -> None:
    x, stream = noise(4, 3), load("filter").create_stream()
    counts = [{name: len(rows) for name, rows in stream.step(row[None]).items()} for row in x]
    assert counts == [{"smooth": n, "level": 1} for n in (0, 0, 1, 1)]
    whole = load("filter", chunk=5).create_stream()
    assert {name: len(rows) for name, rows in whole.step(noise(5, 3)).items()} == {"smooth": 3, "level": 5}
    with pytest.raises(InputError, match=r"\(4, 3\), expected float32 \(5, 3\)"):
        whole.step(x)


def test_step_equals_feed_bit_for_bit(load: Load) -> None:
    x, model = noise(12, 3), load("filter")
    stepping, feeding = model.create_stream(), model.create_stream()
    assert_same(joined([stepping.step(row[None]) for row in x]), feeding.feed(x))
    assert_same(stepping.finish(), feeding.finish())


def test_step_is_refused_while_steps_wait(load: Load) -> None:
    stream = load("pairs").create_stream()
    stream.feed({"x": noise(1, 2), "gain": [1.0]})
    with pytest.raises(StreamingError, match="1 steps from feed"):
        stream.step({"x": noise(2, 2), "gain": [1.0]})
    assert stream.position == 1


def test_reset_equals_fresh(load: Load, runtime: str) -> None:
    model, x = load("filter", runtime), noise(9, 3)
    fresh = streamed(model.create_stream(), x, [])
    used = model.create_stream(nan="pass")
    used.feed(np.full((5, 3), np.nan, np.float32))
    used.finish()
    assert_same(streamed(used, x, []), fresh)
    assert used.position == 9


def test_finished_and_closed_streams_refuse(load: Load) -> None:
    model, x = load("filter"), noise(3, 3)
    with model.create_stream() as stream:
        stream.feed(x)
        stream.finish()
        for call in (stream.finish, lambda: stream.feed(x), lambda: stream.step(x[:1])):
            with pytest.raises(StreamingError, match=r"finished; call reset\(\)"):
                call()
        with pytest.raises(StreamingError, match=r"finished; call reset\(\)"):
            model.step_streams([stream], [x[:1]])
    with pytest.raises(StreamingError, match=r"closed; call reset\(\)"):
        stream.feed(x)
    stream.reset()
    assert len(stream.feed(x)["level"]) == 3


def test_run_yields_every_row_of_the_sequence(load: Load) -> None:
    x, model = noise(9, 3), load("filter")
    found = joined(list(model.create_stream().run(np.split(x, [2, 2, 7]))))
    assert_same(found, streamed(model.create_stream(), x, [2, 2, 7]))
    assert next(iter(model.create_stream().run(iter([x]))))["level"].shape == (9, 3)


def test_a_fork_goes_its_own_way(load: Load) -> None:
    for name, width, static in (("filter", 3, {}), ("pairs", 2, {"gain": [2.0]})):
        model = load(name)
        a, b = noise(7, width, seed=1), noise(6, width, seed=2)
        stream = model.create_stream()
        feed = lambda s, x, st=static: s.feed({"x": x, **st} if st else x)  # noqa: E731
        feed(stream, a)
        fork = stream.fork()
        ahead = joined([feed(fork, b), fork.finish()])
        assert_same(joined([feed(stream, b), stream.finish()]), ahead)


def test_saved_streams_go_on_in_another_process(load: Load, tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np, streaming\n"
        "model = streaming.load(sys.argv[1])\n"
        "stream = model.restore(open(sys.argv[2], 'rb').read())\n"
        "data = np.load(sys.argv[3])\n"
        "y = stream.feed({'x': data, 'gain': [2.0]} if data.shape[1] == 2 else data)\n"
        "tail = stream.finish()\n"
        "y, tail = (y, tail) if isinstance(y, dict) else ({'y': y}, {'y': tail})\n"
        "np.savez(sys.argv[4], **{n: np.concatenate([y[n], tail[n]]) for n in y})\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    for name, width in (("filter", 3), ("pairs", 2)):
        path = models.write(tmp_path / f"{name}.tflite", getattr(models, f"{name}_model")())
        stream, x = streaming.load(path).create_stream(), noise(11, width)
        feed = lambda data, s=stream: s.feed({"x": data, "gain": [2.0]} if data.shape[1] == 2 else data)  # noqa: E731
        feed(x[:5])
        (tmp_path / "blob").write_bytes(stream.save())
        np.save(tmp_path / "x.npy", x[5:])
        files = [str(tmp_path / file) for file in ("blob", "x.npy", "out.npz")]
        environment = {**os.environ, "PYTHONPATH": str(Path(streaming.__file__).parents[1])}
        subprocess.run([sys.executable, "-c", program, str(path), *files], check=True, env=environment)
        expected = joined([feed(x[5:]), stream.finish()])
        with np.load(tmp_path / "out.npz") as found:
            assert_same(dict(found), expected if isinstance(expected, dict) else {"y": expected})


def test_restored_streams_keep_policy_position_and_end(load: Load) -> None:
    model = load("filter")
    stream = model.create_stream(nan="pass")
    stream.feed(np.full((2, 3), np.nan, np.float32))
    restored = model.restore(stream.save())
    assert restored.position == 2
    restored.feed(np.full((1, 3), np.inf, np.float32))
    restored.finish()
    with pytest.raises(StreamingError, match="finished"):
        model.restore(restored.save()).feed(noise(1, 3))
    assert stream.save() == model.restore(stream.save()).save()


def test_blobs_that_are_refused(load: Load) -> None:
    model, other = load("filter"), load("lookup")
    stream = model.create_stream()
    stream.feed(noise(3, 3))
    blob = stream.save()
    with pytest.raises(StateMismatchError, match="saved from model"):
        other.restore(blob)
    with pytest.raises(StateMismatchError, match="format 9"):
        model.restore(blob[:4] + b"\x09\x00" + blob[6:])
    with pytest.raises(StateMismatchError, match="expected bytes"):
        model.restore("blob")
    for size in range(len(blob)):
        with pytest.raises(StateMismatchError):
            model.restore(blob[:size])
    generator = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(blob)
        damaged[generator.integers(len(blob))] ^= 1 << generator.integers(8)
        with pytest.raises(StateMismatchError):
            model.restore(bytes(damaged))
