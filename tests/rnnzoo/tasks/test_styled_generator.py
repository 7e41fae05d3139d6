"""Texts with styles: the token of the style, what is learnt and drawn with it, the judge of styles."""

import io
import json
import sys

import numpy as np
import pytest

import streaming
from rnnzoo.data.source import Source
from rnnzoo.tasks.styled_generator.config import StyledGeneratorConfig, StyledLinesConfig
from rnnzoo.tasks.styled_generator.model import build_styled_generator
from rnnzoo.tasks.styled_generator.styles import StyleJudge, spoken
from rnnzoo.tasks.styled_generator.task import StyledGeneratorTask
from streaming.cli import main
from streaming.errors import InputError
from streaming.runtime.codec import END, START

TEXTS = [("ab ba ab", "Sea"), ("xy yx", "Land"), ("ba ab", "Sea"), ("yx xy yx", "Land")]


@pytest.fixture(scope="module")
def made():
    config = StyledLinesConfig(dataset="drawn", samples=3, max_length=12, temperature=0.9, hidden=0.25)
    splits = {"train": TEXTS, "dev": TEXTS[:3], "test": TEXTS[2:]}
    task = StyledGeneratorTask.from_source(Source("styled-lines", splits), config, seed=1)
    return task, build_styled_generator(StyledGeneratorConfig(token_size=4, units=8), task.encoder)


@pytest.fixture(scope="module")
def path(made, tmp_path_factory):
    task, model = made
    path = tmp_path_factory.mktemp("styled") / "styled.tflite"
    metadata = {"task": task.spec(task.config, task.encoder), "files": task.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    return path


def test_a_text_begins_with_its_style(made):
    task, _ = made
    labels = task.encoder.labels
    assert labels[-2:] == ("<Sea>", "<Land>")
    row = task.arrays("train")[1]
    letters = [labels.index(letter) for letter in "xy yx"]
    assert row["tokens"].tolist() == [labels.index("<Land>"), *letters]
    assert row["targets"].tolist() == [*letters, END]
    strange = task.encode(("ab", "Air"))
    assert strange["tokens"][0] == START


def test_some_training_texts_do_not_tell_their_style(made):
    task, _ = made
    row, rng = task.arrays("train")[0], np.random.default_rng(0)
    first = [task.augment(row, rng)["tokens"] for _ in range(2000)]
    hidden = [tokens[0] == START for tokens in first]
    assert np.mean(hidden) == pytest.approx(0.25, abs=0.03)
    assert row["tokens"][0] == task.styles["Sea"]
    assert all(tokens[1:].tolist() == row["tokens"][1:].tolist() for tokens in first)


def test_a_style_is_not_forgotten(made):
    """A state of 8 units has forgotten its first token after 400 others; the start token tells no style again."""
    task, model = made
    text = np.random.default_rng(0).integers(4, 9, 400)
    sea, land, none, again = (
        np.asarray(model({"tokens": np.array([[*first, *text]])}))[0, -1]
        for first in ([task.styles["Sea"]], [task.styles["Land"]], [START], [task.styles["Sea"], START])
    )
    assert np.abs(sea - land).max() > 0.01
    assert np.abs(sea - none).max() > 0.01
    np.testing.assert_allclose(again, none, atol=1e-5)


@pytest.mark.slow
def test_offline_draws_are_those_of_the_device_in_every_style(made, path):
    """The style is told by the first token alone: a draw that forgets it differs."""
    task, model = made
    writer = streaming.pipeline(path)
    expected = [writer.generate(style=style, seed=seed) for style in ("Sea", "Land") for seed in range(3)]
    assert task.drawn(model) == expected


def nats(task, model, texts):
    """Of each token given those before it, by a softmax after the other."""
    found = []
    for text, style in texts:
        ids = [task.styles.get(style, START), *task.encoder.codec.encode(text), END]
        for end in range(1, len(ids)):
            scores = np.asarray(model({"tokens": np.array([ids[:end]])}))[0, -1].astype(np.float64)
            found.append(float(np.log(np.exp(scores).sum()) - scores[ids[end]]))
    return np.mean(found)


def test_figures_are_those_of_the_texts_with_and_without_their_styles(made, path):
    task, model = made
    found = task.evaluate(model, "dev")
    assert found["nats"] == pytest.approx(nats(task, model, TEXTS[:3]), rel=1e-5)
    hidden = [(text, None) for text, _ in TEXTS[:3]]
    assert found["unstyled_nats"] == pytest.approx(nats(task, model, hidden), rel=1e-5)
    assert found["true_style_accuracy"] == found["true_spoken_accuracy"] == 1
    assert found["count"] == sum(len(text) + 1 for text, _ in TEXTS[:3])
    assert task.evaluate_stream(streaming.load(path), "dev") == pytest.approx(found, abs=1e-5)


def test_a_device_is_asked_for_a_style(made, path):
    task, model = made
    generator = streaming.pipeline(path)
    assert generator.styles == ("Sea", "Land")
    drawn = task.drawn(model)
    assert drawn == [generator.generate(style=style, seed=seed) for style in ("Sea", "Land") for seed in range(3)]
    assert not any("<" in text for text in drawn)
    generator.generate("ab", style="Land", max_length=2)
    stream = generator.model.create_stream()
    for number in (task.styles["Land"], *task.encoder.codec.encode("ab")):
        logits = stream.step(np.array([number], np.int32))[0].astype(np.float64)
    logits[[0, 1, START, *task.styles.values()]] = -np.inf
    first = next(generator.stream("ab", style="Land", temperature=0), None)
    assert (first.text if first else "<end>") == task.encoder.labels[int(np.argmax(logits))]


@pytest.mark.parametrize(
    ("style", "message"),
    [("sea", "no style 'sea'; did you mean 'Sea'? it has Sea, Land"), ("Qqqq", "no style 'Qqqq'; it has Sea, Land")],
)
def test_a_strange_style_is_one_line(path, style, message):
    with pytest.raises(InputError) as caught:
        streaming.pipeline(path).generate(style=style)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_judge_knows_styles_by_their_words():
    texts = ["KING:\nthe crown is mine\n", "FOOL:\na jest my lord\n", "KING:\nthe throne\n", "FOOL:\na song\n"]
    judge = StyleJudge(texts, ["high", "low", "high", "low"])
    assert spoken("KING:\nthe crown: mine\n\nFOOL:\nno\n") == "the crown: mine\n\nno\n"
    assert judge.styles(["the crown", "a jest"]) == ["high", "low"]
    # Who speaks is a word as any other; without it, only what is said counts.
    asked = ["KING:\na jest, a song", "KING:\nmy\n\nKING:\nmy\n\nKING:\nmy"]
    assert judge.figures(asked, ["low", "low"]) == {"style_accuracy": 0.5, "spoken_accuracy": 1.0}


def test_n_grams_of_a_style_draw_in_it(made):
    task, _ = made
    figures = task.baseline("dev").figures
    assert figures["style_accuracy"] == 1
    assert 0 < figures["nats"] < np.log(len(task.encoder.labels))
    assert figures["count"] == sum(len(text) + 1 for text, _ in TEXTS[:3])


def test_streaming_run_takes_a_style(path, capsys, monkeypatch):
    for style in ("Land", "Lnd"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\n")))
        code = main(["run", str(path), "--style", style, "--seed", "2"])
        out, err = capsys.readouterr()
        if style == "Land":
            said = "".join(json.loads(line)["text"] for line in out.splitlines())
            assert (code, err, said) == (0, "", streaming.pipeline(path).generate("ab", style="Land", seed=2))
        else:
            assert (code, out) == (2, "")
            assert "line 1: the model has no style 'Lnd'; did you mean 'Land'?" in err
