"""The peers of the benchmarks compute what the zoo's networks and layers compute."""

import importlib.util
import sys

import numpy as np
import pytest

from benchmarks import heads, whole
from rnnzoo.registry.layout import bundle_paths
from rnnzoo.registry.names import find_config
from rnnzoo.runs.config import load_config
from rnnzoo.runs.store import read_encoder
from rnnzoo.tasks.discovery import task_class

# Without dropout nothing is drawn; averages that move show a wrong one.
CHANGES = ["training.epochs=2", "training.batch_size=4", "training.ema=0.5", "model.dropout=0"]
WORDS = "the quick brown fox jumps over a lazy dog and walks home in these cold winter nights of 1999".split()


def sentences(rng, count=10):
    return [list(rng.choice(WORDS, rng.integers(3, 9))) for _ in range(count)]


def tagged(rng, encoder):
    return [(words, list(rng.choice(encoder.labels, len(words)))) for words in sentences(rng)]


def translated(rng, encoder):
    return [(" ".join(source), " ".join(target)) for source, target in zip(sentences(rng), sentences(rng), strict=True)]


def spoken(rng, encoder):
    rate = encoder.definition.sample_rate
    return [(rng.normal(size=rate // 2).astype("float32"), label) for label in encoder.labels[1:] for _ in range(3)]


CASES = {
    "tagger-en-ewt-stream": (
        tagged,
        [f"model.{name}=0" for name in ("input_dropout", "word_dropout", "affix_dropout", "recurrent_dropout")],
    ),
    "digits-kws-stream": (spoken, ["data.negatives=[]", "data.noise=[]", "data.window=24", "data.windows=2"]),
    "translate-en-de": (translated, []),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_training_of_a_peer_is_that_of_the_zoo(name):
    make, changes = CASES[name]
    setup = load_config(find_config(name), [*CHANGES, *changes])
    encoder, rng = read_encoder(bundle_paths()[name], setup), np.random.default_rng(1)
    splits = {split: make(rng, encoder) for split in ("train", "dev")}
    task = task_class(setup.topology)(setup.data, encoder, splits, 1)
    names = ["rnnzoo", "Keras", "PyTorch"]
    figures = whole.compare(setup, task, whole.Recorded.draw(task, setup.training.batch_size, 2), names)
    assert list(figures) == (names if importlib.util.find_spec("torch") else names[:2])
    _, _, loss, accuracy = figures.pop("rnnzoo")
    for seconds, first, other, right in figures.values():
        assert seconds > 0
        assert first > 0
        np.testing.assert_allclose(other, loss, rtol=1e-4)
        np.testing.assert_allclose(right, accuracy, atol=0.02)


@pytest.mark.parametrize("make", heads.GROUPS, ids=lambda make: make.__name__)
def test_the_peers_of_a_head_compute_what_it_does(make):
    _, calls = make(heads.QUICK)
    assert len(calls) == (3 if importlib.util.find_spec("torch") else 2)
    expected, *values = (call() for call in calls.values())
    np.testing.assert_allclose(values, expected, rtol=1e-5)


@pytest.mark.parametrize("benchmark", [heads, whole])
def test_a_case_that_does_not_exist_is_refused_with_the_names_of_the_others(benchmark):
    with pytest.raises(SystemExit, match=r"expected one of .*; got 'nothing'"):
        benchmark.main("--only=nothing")


def test_pytorch_has_no_row_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    _, calls = heads.ctc(heads.QUICK)
    assert list(calls) == ["rnnzoo", "Keras"]
