"""What a stream takes as input, and what it refuses without moving."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runtime_models as models
from runtime_models import assert_same, joined, noise

from streaming.errors import InputError, StreamingError

Load = Callable[..., Any]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """load(name, runtime, **changes of the metadata) -> the tiny model of that name."""
    return functools.partial(models.load, tmp_path)


NAN_ROW = np.array([[0, 0, 0], [0, np.nan, 0]], np.float32)
INF_ROW = np.array([[0, 0, -np.inf]], np.float32)
BAD = [
    (noise(3), r"shape \(3,\), expected float32 \(steps, 3\)"),
    (noise(1, 2, 3), r"shape \(1, 2, 3\)"),
    (noise(2, 4), r"shape \(2, 4\)"),
    (np.float32(1), r"shape \(\)"),
    (noise(2, 3) > 0, "is bool, expected float32"),
    (np.array([["a", "b", "c"]]), "is <U1, expected float32"),
    (noise(2, 3) + 1j, "complex"),
    (np.array([[None, 1, 2]]), "is object"),
    ([[1, 2, 3], [4, 5]], "no array"),
    (None, r"shape \(\)"),
    (NAN_ROW, r"holds nan at \(1, 1\), expected finite numbers"),
    (INF_ROW, r"holds -inf at \(0, 2\)"),
    (np.array([[1e300, 0, 0]]), r"holds inf at \(0, 0\)"),
    ({"y": noise(1, 3)}, r"expected a dict of the inputs \['x'\], got \['y'\]"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_bad_input_is_refused_and_nothing_moves(load: Load, bad: Any, message: str) -> None:
    stream = load("filter").create_stream()
    stream.feed(noise(3, 3))
    before = stream.save()
    for call in (stream.feed, stream.step):
        with pytest.raises(InputError, match=message if call == stream.feed else None) as caught:
            call(bad)
        assert "\n" not in str(caught.value)
        assert stream.save() == before


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([7]), "holds 7, expected 0 to 6"),
        (np.array([1, -1, 3]), "holds -1, expected 0 to 6"),
        (np.array([1.0]), "is float64, expected int32"),
        (np.array([True]), "is bool"),
        (np.array(["1"]), "is <U1"),
        (np.array([2**40]), "expected int32"),
        (np.array([[1]]), r"expected int32 \(steps,\)"),
    ],
)
def test_bad_integers_are_refused(load: Load, bad: Any, message: str) -> None:
    stream = load("lookup").create_stream()
    before = stream.save()
    with pytest.raises(InputError, match=message):
        stream.feed(bad)
    assert stream.save() == before


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (noise(2, 2), r"expected a dict of the inputs \['x', 'gain'\], got ndarray"),
        ({"x": noise(2, 2)}, r"got \['x'\]"),
        ({"x": noise(2, 2), "gain": [1.0], "z": 0}, r"got \['gain', 'x', 'z'\]"),
        ({"x": noise(2, 2), "gain": [[1.0]]}, r"'gain' has shape \(1, 1\), expected float32 \(1,\)"),
        ({"x": noise(2, 2), "gain": [np.nan]}, "'gain' holds nan"),
    ],
)
def test_bad_dicts_are_refused(load: Load, bad: Any, message: str) -> None:
    stream = load("pairs").create_stream()
    with pytest.raises(InputError, match=message):
        stream.feed(bad)


def test_an_unknown_policy(load: Load) -> None:
    with pytest.raises(InputError, match="expected 'raise' or 'pass'"):
        load("filter").create_stream(nan="ignore")


def test_arrays_of_any_make_are_taken(load: Load, runtime: str) -> None:
    model, x = load("filter", runtime), np.round(noise(6, 3) * 4)
    frozen = x.copy()
    frozen.flags.writeable = False
    expected = model.create_stream().feed(x)
    makes = [
        frozen,
        np.asfortranarray(x),
        np.repeat(x, 2, axis=1)[:, ::2],
        x.astype(">f4"),
        x.astype(np.float64),
        x.astype(np.float16),
        x.astype(np.int8),
        x.tolist(),
        {"x": x},
    ]
    for make in makes:
        assert_same(model.create_stream().feed(make), expected)
    for make in makes[:-2]:
        stream = model.create_stream()
        assert_same(joined([stream.step(make[t : t + 1]) for t in range(6)]), expected)
    assert_same(model.create_stream().feed([]), model.create_stream().feed(x[:0]))


def test_huge_numbers_are_finite(load: Load) -> None:
    x = np.full((2, 3), 3e38, np.float32)
    assert len(load("filter").create_stream().feed(x)["level"]) == 2


def test_policy_pass_lets_nan_through(load: Load) -> None:
    found = load("filter").create_stream(nan="pass").feed(NAN_ROW)
    np.testing.assert_array_equal(np.isnan(found["level"][1]), [False, True, False])


def test_what_the_caller_changes_afterwards_has_no_effect(load: Load) -> None:
    model, x = load("pairs"), noise(5, 2)
    expected = joined(list(model.create_stream().run({"x": part, "gain": [2.0]} for part in (x[:3], x[3:]))))
    stream, piece, gain = model.create_stream(), x.copy(), np.array([2.0], np.float32)
    first = stream.feed({"x": piece[:3], "gain": gain})
    kept = first.copy()
    first[:], piece[:3], gain[:] = -1, -1, -1
    second = stream.feed({"x": x[3:], "gain": np.array([2.0], np.float32)})
    assert_same(joined([kept, second, stream.finish()]), expected)


def test_a_failing_invoke_leaves_the_stream(load: Load, runtime: str) -> None:
    unbounded = (dataclasses.replace(models.lookup_model()[1].inputs[0], high=None),)
    model = load("lookup", runtime, inputs=unbounded)
    stream = model.create_stream()
    stream.feed(np.array([1, 2]))
    before = stream.save()
    for call in (stream.step, stream.feed, lambda x: model.step_streams([stream], [x])):
        with pytest.raises(StreamingError, match="interpreter failed"):
            call(np.array([1_000_000]))
        assert stream.save() == before
    np.testing.assert_allclose(stream.feed(np.array([3])), models.lookup_oracle(np.array([0, 0, 3]))[2:])
