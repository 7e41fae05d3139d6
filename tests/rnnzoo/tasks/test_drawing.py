"""What evaluations draw: the numbers behind the pictures, and that each picture is there."""

import keras
import numpy as np
import pytest

from rnnzoo.layers import AttentionCell, AttentionDecoder, BahdanauAttention, LuongAttention
from rnnzoo.tasks import drawing
from rnnzoo.tasks.attentive import attention_model
from rnnzoo.tasks.evaluation import surprise
from rnnzoo.tasks.forecaster.config import ForecasterData
from rnnzoo.tasks.forecaster.task import ForecasterTask
from rnnzoo.util import plots


def attentive(kind):
    source, target = keras.Input((None, 4), name="source"), keras.Input((None, 4), name="target")
    if kind == "decoder":
        cell = AttentionCell(keras.layers.GRUCell(6), BahdanauAttention(5))
        y = AttentionDecoder(cell, name="decoder")(target, source)
    else:
        y = LuongAttention("dot", name="attention")(target, source)
    return keras.Model({"source": source, "target": target}, keras.layers.Dense(3)(y))


def test_the_weights_of_dot_attention_are_a_softmax():
    model, rng = attentive("luong"), np.random.default_rng(0)
    given = {"source": rng.normal(size=(2, 5, 4)).astype("float32"), "target": rng.normal(size=(2, 3, 4)).astype("f4")}
    scores = np.exp(np.einsum("btd,bsd->bts", given["target"], given["source"]))
    found = attention_model(model)(given)
    np.testing.assert_allclose(found, scores / scores.sum(-1, keepdims=True), rtol=1e-4)


def test_the_weights_of_a_decoder_make_its_contexts():
    model, rng = attentive("decoder"), np.random.default_rng(1)
    given = {"source": rng.normal(size=(2, 5, 4)).astype("float32"), "target": rng.normal(size=(2, 3, 4)).astype("f4")}
    weights = np.array(attention_model(model)(given))
    output = keras.Model(model.input, model.get_layer("decoder").output)(given)
    np.testing.assert_allclose(weights @ given["source"], output[..., 6:], rtol=1e-4, atol=1e-5)


def test_a_model_without_attention_has_no_weights():
    inputs = keras.Input((None, 4))
    assert attention_model(keras.Model(inputs, keras.layers.GRU(3)(inputs))) is None


PICTURES = {
    "history": lambda path: drawing.draw_history(path, {"loss": [3, 2], "val_loss": [3, 2.5], "seconds": [1, 1]}),
    "confusion": lambda path: drawing.draw_confusion(path, list("aabbc"), list("abbbd")),
    "many": lambda path: drawing.draw_confusion(
        path, [str(i % 90) for i in range(900)], [str(i % 89) for i in range(900)]
    ),
    "attention": lambda path: drawing.draw_alignments(path, [(["\u2581ein", "</end>"], ["a"], np.ones((2, 1)))] * 2),
    "forecast": lambda path: drawing.draw_forecasts(
        path, {"x": {"true": np.arange(9.0), "forecast": np.ones((4, 3)).cumsum(1)}}, 5
    ),
    "events": lambda path: drawing.draw_events(path, np.sin(np.arange(90.0)), 30.0, {"true": [(3, "N")], "found": []}),
    "anomalies": lambda path: drawing.draw_anomalies(
        path, "$x", {"a": np.arange(50.0), "b": np.ones(50)}, np.linspace(0, 1, 50), 0.9, np.array([[10, 20]])
    ),
    "surprise": lambda path: drawing.draw_surprise(path, [("a\n$b", np.arange(4.0)), (["\u2581ein"], np.ones(1))]),
    "roll": lambda path: drawing.draw_roll(path, np.eye(9), np.eye(9) * 0.5, [f"midi_{i}" for i in range(9)]),
    "heard": lambda path: drawing.draw_heard(path, np.eye(30), "abcdefghijklmnopqrstuvwxyz0123", 0.1, {"said": "$_{"}),
    "classes": lambda path: drawing.draw_classes(
        path, {f"${i}": {"precision": 0.5, "recall": i / 40, "count": float(i)} for i in range(40)}
    ),
    "captions": lambda path: drawing.draw_captions(path, [np.full((8, 9, 3), 300.0)], ["a grey picture " * 5]),
    # What would be broken formulas.
    "dollars": lambda path: drawing.draw_confusion(path, ["$a_{$", "5 %"], ["$\\frac$", "5 %"]),
    "dollars-read": lambda path: drawing.draw_alignments(path, [(["$x_{$"], ["$^$", "%"], np.ones((1, 2)))] * 2),
    "dollars-said": lambda path: drawing.draw_captions(path, [np.full((8, 9, 3), 30.0)], ["$\\frac$ {off} 5 %"]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_there_and_shows_something(name, tmp_path):
    from matplotlib.image import imread

    path = PICTURES[name](tmp_path / "new" / f"{name}.png")
    pixels = imread(path)[..., :3]
    assert min(pixels.shape[:2]) > 300
    assert 0.002 < np.mean(pixels.min(-1) < 0.9) < 0.9
    assert list(path.parent.iterdir()) == [path]


def test_every_task_draws_something():
    from rnnzoo.tasks.discovery import task_class, task_names
    from rnnzoo.tasks.evaluation import Evaluation

    assert [name for name in task_names() if task_class(name).draw is Evaluation.draw] == []


def test_surprise_is_in_bits():
    logits = np.log([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])
    np.testing.assert_allclose(surprise(logits, np.array([0, 2])), [1, 3])


def test_a_log_axis_has_dots_and_no_bars(tmp_path):
    with plots.figure(tmp_path / "x.png") as (axis,):
        plots.dots(axis, {"first": 1e-6, "second": 10.0}, title="", x="")
    (line,) = axis.lines
    assert (axis.get_xscale(), len(axis.patches), line.get_linestyle()) == ("log", 0, "None")
    np.testing.assert_array_equal(line.get_xdata(), [1e-6, 10])
    assert axis.yaxis_inverted()


def test_forecasts_are_drawn_in_the_units_of_the_data(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(drawing, "draw_forecasts", lambda path, columns, origin: drawn.update(columns) or path)
    rows = np.random.default_rng(0).normal(500, 20, (200, 2))
    config = ForecasterData(
        dataset="series:x", context=5, horizon=3, window=8, season=5, columns=("a", "b"), targets=("b",)
    )
    splits = {"train": [(rows, 0)], "dev": [(rows, 100)]}
    task = ForecasterTask(config, ForecasterTask.fit_encoder(splits["train"], config), splits)
    inputs = keras.Input((None, 2), name="rows")
    # A forecast of 0 in standard units is the mean of the training split.
    outputs = keras.layers.Reshape((-1, 3, 1))(keras.layers.Dense(3, kernel_initializer="zeros")(inputs))
    task.draw(keras.Model({"rows": inputs}, outputs), "dev", tmp_path)
    assert list(drawn) == ["b"]
    np.testing.assert_allclose(drawn["b"]["true"], rows[95:103, 1], rtol=1e-5)
    np.testing.assert_allclose(drawn["b"]["forecast"], [rows[:, 1].mean()] * 3, rtol=1e-5)


def test_a_single_epoch_is_a_visible_point(tmp_path):
    from matplotlib.image import imread

    pixels = imread(drawing.draw_history(tmp_path / "x.png", {"loss": [3.0], "val_loss": [2.5]}))[..., :3]
    for colour in ("#0072B2", "#D55E00"):
        wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        # A point of six dots across, at 120 dots an inch, beside the line in the legend.
        assert (np.abs(pixels - wanted).max(-1) < 0.02).sum() > 150
