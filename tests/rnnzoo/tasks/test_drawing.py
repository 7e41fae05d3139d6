"""What evaluations draw: the numbers behind the pictures, and that each picture is there."""

import keras
import numpy as np
import pytest

from rnnzoo.layers import AttentionCell, AttentionDecoder, BahdanauAttention, LuongAttention
from rnnzoo.tasks import drawing
from rnnzoo.tasks.attentive import attention_model


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


def test_a_single_epoch_is_a_visible_point(tmp_path):
    from matplotlib.image import imread

    pixels = imread(drawing.draw_history(tmp_path / "x.png", {"loss": [3.0], "val_loss": [2.5]}))[..., :3]
    for colour in ("#0072B2", "#D55E00"):
        wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        # A point of six dots across, at 120 dots an inch, beside the line in the legend.
        assert (np.abs(pixels - wanted).max(-1) < 0.02).sum() > 150
