"""Sentences that are chosen: scores and their loss, and a small model on the real abstracts."""

import keras
import numpy as np
import pytest

from rnnzoo.data import Source
from rnnzoo.data.config import WordsConfig
from rnnzoo.data.mirror import find_mirror
from rnnzoo.errors import DataError
from rnnzoo.registry.names import find_config
from rnnzoo.runs.config import load_config
from rnnzoo.runs.experiment import evaluate_run, run_experiment
from rnnzoo.runs.store import load_run
from rnnzoo.tasks.losses import ListwiseScores
from rnnzoo.tasks.summarizer.config import SummarizerConfig
from rnnzoo.tasks.summarizer.model import build_summarizer
from rnnzoo.tasks.summarizer.task import SummarizerTask

CONFIG = WordsConfig(dataset="own", min_count=1, inputs=("words",))
ROWS = [
    ([["we", "know"], ["we", "show", "it"]], np.array([0.1, 0.6], np.float32)),
    ([["it", "is", "so"], ["so", "it", "is"], ["we", "know"]], np.array([0.5, 0.2, 0.0], np.float32)),
]


@pytest.fixture(scope="module")
def problem():
    return SummarizerTask.from_source(Source("sentences-scores", {"train": ROWS, "dev": ROWS}), CONFIG)


def test_scores_stand_at_the_ends_of_sentences(problem):
    row = problem.arrays("train")[0]
    np.testing.assert_allclose(row["targets"], [-1, -1, 0.1, -1, -1, -1, 0.6])
    np.testing.assert_array_equal(row["weights"], [0, 0, 1, 0, 0, 0, 1])
    assert len(set(row["words"][[2, 6]])) == 1
    figures = problem.score("dev", [1, 1])
    assert figures == pytest.approx(
        {"rouge_1": 0.4, "first_rouge_1": 0.3, "last_rouge_1": 0.3, "best_rouge_1": 0.55, "count": 2}, rel=1e-6
    )
    with pytest.raises(DataError, match="a sentence or more with a score each; received 1 sentences and 2 scores"):
        problem.encode(([["a"]], np.zeros(2, np.float32)))


def test_the_loss_is_cross_entropy_over_the_sentences_of_a_text():
    scores = np.array([[-1, 0.1, -1, 0.3, 0.2], [-1, 0.4, -1, -1, -1]], np.float32)
    logits = np.random.default_rng(0).normal(size=(2, 5, 2)).astype(np.float32)
    each = np.asarray(ListwiseScores(0.1, reduction=None)(scores, logits))
    margins = (logits[..., 1] - logits[..., 0])[0, [1, 3, 4]]
    p, q = np.exp([1, 3, 2]) / np.exp([1, 3, 2]).sum(), np.exp(margins) / np.exp(margins).sum()
    np.testing.assert_allclose(each[0], [0, *-(p * np.log(q))[:1], 0, *-(p * np.log(q))[1:]], rtol=1e-4)
    np.testing.assert_allclose(each[1], 0, atol=1e-6)


def test_sentences_are_read_by_a_layer_that_steps_at_their_ends(problem):
    keras.utils.set_random_seed(0)
    model = build_summarizer(SummarizerConfig(units=5, sentence_units=4, word_size=6), problem.encoder)
    words = problem.arrays("dev")[1]["words"]
    inside = keras.Model(model.inputs, model.get_layer("sentences").output).predict(words[None], verbose=0)[0]
    # Between two ends (places 3, 7, 10) nothing changes.
    assert not np.allclose(inside[3], inside[7])
    for same in ((3, 4, 5, 6), (7, 8, 9)):
        np.testing.assert_array_equal(inside[list(same)], inside[[same[0]] * len(same)])


@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
@pytest.mark.slow
def test_a_small_model_of_real_abstracts_trains_and_streams(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path / "tfds"))
    small = ["data.limit=40", "model.units=8", "model.sentence_units=6", "training.epochs=1", "training.batch_size=8"]
    saved = run_experiment(load_config(find_config("summarize-tldr"), small), tmp_path / "run")
    assert np.isfinite(saved["history"]["loss"][0])
    found = evaluate_run(load_run(tmp_path / "run"), "dev")
    assert found["float32"]["max_abs_error"] < 1e-4
    for key, value in found["offline"].items():
        assert found["float32"][key] == pytest.approx(value)
