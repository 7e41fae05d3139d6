"""A tiny language whose tags follow from the next word: a model that looks ahead learns it in seconds."""

import dataclasses
import os

import keras
import numpy as np
import pytest

from rnnzoo.data import Source
from rnnzoo.data.sets.clinc_oos import OUT_OF_SCOPE
from rnnzoo.errors import ConfigError, DataError, Diverged
from rnnzoo.tasks.classifier.config import ClassifierWords
from rnnzoo.tasks.classifier.task import ClassifierTask
from rnnzoo.tasks.losses import SmoothedCrossEntropy
from rnnzoo.tasks.tagger.config import TaggerConfig
from rnnzoo.tasks.tagger.model import build_tagger
from rnnzoo.tasks.tagger.task import TaggerTask
from rnnzoo.training import TrainingConfig, fit
from rnnzoo.training.checkpoint import read_weights, write_weights
from rnnzoo.training.progress import ProgressBar

CONFIG = ClassifierWords(dataset="own", inputs=("words",))
TRAINING = TrainingConfig(epochs=6, batch_size=16, learning_rate=0.02, ema=0.9, label_smoothing=0.05)
MODEL = TaggerConfig(word_size=8, char_filters=0, affix_size=0, conv_units=16, units=16, dropout=0.0, input_dropout=0.0)


def sentences(count, seed):
    """Each word is tagged with the colour of the word after it; the last one is tagged END."""
    rng = np.random.default_rng(seed)
    colours = {"red": "R", "blue": "B", "green": "G"}
    rows = []
    for _ in range(count):
        words = [str(w) for w in rng.choice(list(colours), rng.integers(2, 9))]
        rows.append((words, [colours[w] for w in words[1:]] + ["END"]))
    return rows


@pytest.fixture(scope="module")
def data():
    source = Source("words-tags", {"train": sentences(300, 0), "dev": sentences(50, 1), "test": sentences(50, 2)})
    return TaggerTask.from_source(source, CONFIG)


def build(data):
    keras.utils.set_random_seed(0)
    return build_tagger(MODEL, data.encoder)


def test_training_learns_and_keeps_the_best_epoch(data, tmp_path, capsys):
    model = build(data)
    history = fit(model, data, TRAINING, seed=1, run_dir=tmp_path)
    best = max(history["val_accuracy"])
    assert best > 0.99
    assert data.evaluate(model, "dev")["accuracy"] == pytest.approx(best, abs=1e-6)
    assert len(list(tmp_path.glob("snapshot-*.safetensors"))) == len(os.listdir(tmp_path)) == 2
    assert len(capsys.readouterr().out.splitlines()) == TRAINING.epochs
    assert history["learning_rate"][-1] < 1e-3 < max(history["learning_rate"])


def test_accuracy_in_training_is_the_accuracy_of_evaluation(data, tmp_path):
    model = build(data)
    history = fit(model, data, dataclasses.replace(TRAINING, epochs=1), seed=1, run_dir=tmp_path)
    found = data.evaluate(model, "dev")["accuracy"]
    assert found < 0.95
    assert history["val_accuracy"] == [pytest.approx(found, abs=1e-6)]


@pytest.mark.slow
def test_terminal_sees_a_bar_and_a_line_an_epoch(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ProgressBar, "useful", staticmethod(lambda: True))
    short = dataclasses.replace(TRAINING, epochs=2)
    fit(build(data), data, short, seed=1, run_dir=tmp_path)
    out = capsys.readouterr().out
    assert "epoch 1  accuracy" in out
    assert "epoch 2  accuracy" in out
    assert "38/38" in out


@pytest.mark.slow
def test_one_seed_gives_one_training(data, tmp_path):
    short = dataclasses.replace(TRAINING, epochs=1)
    models = [build(data), build(data)]
    losses = [fit(m, data, short, seed=1, run_dir=tmp_path / str(i))["loss"] for i, m in enumerate(models)]
    assert losses[0] == losses[1]
    for a, b in zip(*(m.get_weights() for m in models), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_number_stops_with_a_clear_error(data, tmp_path):
    model = build(data)
    model.get_layer("logits").bias.assign([np.nan] * len(data.labels))
    with pytest.raises(Diverged, match=r"epoch 1, batch 1.*Lower training\.learning_rate"):
        fit(model, data, TRAINING, seed=1, run_dir=tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"optimizer": "magic"}, "adam, adamw, sgd"),
        ({"schedule": "linear"}, "cosine, constant, exponential, inverse_sqrt, plateau"),
        ({"epochs": 0}, "epochs=0"),
        ({"label_smoothing": 1.5}, "1.5"),
    ],
)
def test_impossible_training_is_named(change, said):
    with pytest.raises(ConfigError, match=r"training\.") as error:
        dataclasses.replace(TRAINING, **change)
    assert said in str(error.value)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_smoothed_cross_entropy_is_its_definition(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(2, 3, 4)), rng.integers(0, 4, (2, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    target = np.eye(4)[labels] * (1 - smoothing) + smoothing / 4
    expected = -(target * np.log(probabilities)).sum(-1).mean()
    np.testing.assert_allclose(SmoothedCrossEntropy(smoothing)(labels, logits), expected, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("float16", 1e-3)])
def test_weights_come_back(dtype, tolerance, data, tmp_path):
    model, path = build(data), tmp_path / "deep" / "weights.safetensors"
    before = model.get_weights()
    write_weights(model, path, dtype)
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    read_weights(model, path)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert os.listdir(path.parent) == [path.name]


def test_foreign_weights_are_refused(data, tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(DataError, match="no file of weights"):
        read_weights(build(data), path)
    path.write_bytes(b"not weights at all")
    with pytest.raises(DataError, match="no file of weights"):
        read_weights(build(data), path)
    write_weights(build_tagger(dataclasses.replace(MODEL, units=17), data.encoder), path)
    with pytest.raises(DataError, match="another architecture"):
        read_weights(build(data), path)
    write_weights(build_tagger(dataclasses.replace(MODEL, layers=2), data.encoder), path)
    with pytest.raises(DataError, match="also holds"):
        read_weights(build(data), path)


def test_tagger_score_counts_words(data):
    source = Source("words-tags", {"train": data.splits["train"], "dev": [(["red", "pink"], ["R", "G"])]})
    tiny = TaggerTask.from_source(source, CONFIG)
    assert tiny.score("dev", [["R", "B"]]) == {"accuracy": 0.5, "unseen_accuracy": 0.0, "count": 2.0}


def test_classifier_score_tells_scope_apart():
    rows = [(["a"], "x"), (["b"], "y"), (["c"], OUT_OF_SCOPE), (["d"], OUT_OF_SCOPE)]
    tiny = ClassifierTask.from_source(Source("text-label", {"train": rows, "dev": rows}), CONFIG)
    assert tiny.score("dev", ["x", "x", OUT_OF_SCOPE, "x"]) == {
        "accuracy": 0.5,
        # Of "x" 2 / (2 + 2), of "y" 0, of what is out of scope 2 / (2 + 1).
        "macro_f1": pytest.approx((1 / 2 + 0 + 2 / 3) / 3),
        "count": 4.0,
        "in_scope_accuracy": 0.5,
        "out_of_scope_recall": 0.5,
    }


@pytest.mark.slow
def test_snapshots_of_another_experiment_are_refused(data, tmp_path):
    short = dataclasses.replace(TRAINING, epochs=1)
    fit(build(data), data, short, seed=1, run_dir=tmp_path, experiment="one")
    with pytest.raises(DataError, match=r"another configuration.*--overwrite"):
        fit(build(data), data, short, seed=1, run_dir=tmp_path, experiment="other")
