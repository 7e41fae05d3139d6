"""Sketchers: drawings by the device against a roll-out of the offline Keras model, mistakes, `streaming run`."""

import io
import json
import sys

import keras
import numpy as np
import pytest
from keras import layers
from task_models import save

import streaming
from streaming.cli import main
from streaming.errors import ArtifactError, InputError, StateMismatchError
from streaming.runtime.decoding.mixtures import PenMixture
from streaming.runtime.tasks import Point, Sketcher
from streaming.vectors import make_vectors

SCALE = 50.0
TASK = {
    "kind": "sketcher",
    "scaler": {"mean": [0, 0, 0], "scale": [SCALE, SCALE, 1]},
    "floor": 0.1,
    "temperature": 0.7,
    "max_length": 12,
}


def mixture_model(outputs=15, width=3):
    keras.utils.set_random_seed(4)
    rows = keras.Input((None, width), name="rows")
    return keras.Model(rows, layers.Dense(outputs)(layers.GRU(6, return_sequences=True)(rows)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("strokes")


@pytest.fixture(scope="module")
def sketcher(folder):
    model = mixture_model()
    path = save(model, folder, TASK, {})
    return model, path, streaming.pipeline(path)


def rolled_out(model, beginning, seed, temperature, most):
    """(dx, dy, lift, end) after a beginning, by the whole Keras model again for each point."""
    rows = [[0, 0, 1], *([x / SCALE, y / SCALE, lift] for x, y, lift in beginning)]
    rng, found = np.random.default_rng((seed, 0)), []
    for _ in range(most):
        output = np.asarray(model(np.array([rows], np.float32)))[0, -1]
        move = PenMixture.read(output, 0.1).draw(rng, temperature)
        found.append((move.dx * SCALE, move.dy * SCALE, move.pen > 0, move.pen == 2))
        if move.pen == 2:
            break
        rows.append([move.dx, move.dy, float(move.pen > 0)])
    return found


@pytest.mark.parametrize("seed", range(4))
def test_drawings_are_those_of_the_offline_model(sketcher, seed):
    model, _, task = sketcher
    assert isinstance(task, Sketcher)
    for beginning in ([], [(30, -20, 0), (5, 60, 1)]):
        expected = rolled_out(model, beginning, seed, 0.7, 12)
        points = task.sketch(beginning, seed=seed)
        assert [point.row for point in points] == list(range(len(beginning), len(beginning) + len(points)))
        np.testing.assert_allclose([point[1:5] for point in points], expected, rtol=1e-4, atol=1e-3)
        assert all(np.isfinite(point.score) for point in points)


def test_a_beginning_may_say_that_the_pen_is_up(sketcher):
    task = sketcher[2]
    assert task.sketch([(0, 0, 1)], seed=2) == task.sketch(seed=2)
    assert task.sketch([(0, 0, 1), (9, 9, 0)], seed=2) == task.sketch([(9, 9, 0)], seed=2)


def test_a_session_draws_another_drawing_each_time_and_goes_on_in_another_process(sketcher):
    task = sketcher[2]
    session = task.session()
    drawings = []
    for _ in range(3):
        session.feed(np.array([[10.0, 0.0, 0.0]]))
        drawings.append(session.finish())
    assert session.finish() == []
    assert drawings[0] != drawings[1] != drawings[2]
    again = task.session()
    again.feed(np.array([[10.0, 0.0, 0.0]]))
    assert again.finish() == drawings[0]
    again.feed(np.zeros((0, 3)))
    again.feed(np.array([[10.0, 0.0, 0.0]]))
    assert task.restore(again.save()).finish() == drawings[1]
    with pytest.raises(StateMismatchError):
        task.restore(b"nothing")


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([(1, 2, 0.5)], {}, "lift is 0.5 in row 1, expected 1 after the last point of a stroke"),
        ([(1, 2)], {}, "expected"),
        ([(1, float("nan"), 0)], {}, "NaN or infinity"),
        ([], {"temperature": -1}, "temperature is -1"),
        ([], {"temperature": float("nan")}, "temperature is nan"),
        ([], {"max_length": 0}, "max_length 0"),
    ],
)
def test_mistakes_are_one_line(sketcher, rows, options, message):
    with pytest.raises(InputError, match=message) as error:
        sketcher[2].sketch(rows, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        (mixture_model(14), {}, "6 M"),
        (mixture_model(15, 2), {}, "3"),
        (None, {"scaler": {"mean": [1, 0, 0], "scale": [1, 1, 1]}}, "means of 0"),
        (None, {"columns": ["dx", "dy"]}, "dx, dy and lift"),
        (None, {"missing": "hold"}, "fills no gaps"),
        (None, {"floor": -1}, "floor"),
    ],
)
def test_a_file_that_contradicts_its_task_is_refused(sketcher, folder, model, change, message):
    with pytest.raises((ArtifactError, InputError), match=message):
        streaming.pipeline(save(model or sketcher[0], folder, {**TASK, **change}, {}))


def run(capsys, monkeypatch, path, *flags, stdin):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
    code = main(["run", str(path), "-", *map(str, flags)])
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def test_streaming_run_draws_each_drawing_of_the_input(sketcher, capsys, monkeypatch):
    _, path, task = sketcher
    code, found, _ = run(capsys, monkeypatch, path, "--seed", 3, stdin="dx,dy,lift\n0,0,1\n\n30,-20,0\n5,60,1\n")
    assert code == 0
    points = [Point(*(item[name] for name in Point._fields)) for item in found if item["sequence"] == 0]
    expected = task.sketch(seed=3)
    np.testing.assert_allclose([point[1:] for point in points], [point[1:] for point in expected], atol=1e-5)
    assert {item["sequence"] for item in found} == {0, 1}
    assert found[-1]["sequence"] == 1
    code, found, _ = run(capsys, monkeypatch, path, "--max-length", 2, "--temperature", 0, stdin="[0, 0, 1]\n")
    assert code == 0
    assert len(found) <= 2


@pytest.mark.parametrize(
    ("flags", "stdin", "message"),
    [
        (["--top-k", 3], "0,0,1\n", "--top-k does not go with this model, whose task is sketcher"),
        ([], "", "the input holds no rows"),
        ([], "0,0,3\n", "line 1: lift is 3"),
        ([], "1,2\n", "line 1"),
    ],
)
def test_mistakes_of_a_run_are_one_line(sketcher, capsys, monkeypatch, flags, stdin, message):
    code, _, err = run(capsys, monkeypatch, sketcher[1], *flags, stdin=stdin)
    assert code != 0
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_vectors_of_a_sketcher_are_of_temperature_0(sketcher):
    task = sketcher[2]
    vectors = make_vectors(task.model)["task"]
    assert vectors["kind"] == "sketcher"
    given = vectors["input"]
    points = task.sketch(given["rows"], temperature=0.0, max_length=given["max_length"], seed=9)
    assert [event["row"] for event in vectors["events"]] == [point.row for point in points]
    for event, point in zip(vectors["events"], points, strict=True):
        assert event == {"event": "point"} | {k: pytest.approx(v, abs=1e-6) for k, v in point._asdict().items()}
