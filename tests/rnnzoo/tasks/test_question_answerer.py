"""Questions about stories: figures by task, bad input, and a small model on the real stories."""

import numpy as np
import pytest

import streaming
from rnnzoo.data import Source
from rnnzoo.data.mirror import find_mirror
from rnnzoo.data.sets.babi_qa import Story
from rnnzoo.errors import DataError
from rnnzoo.registry.names import find_config
from rnnzoo.runs.config import load_config
from rnnzoo.runs.experiment import evaluate_run, run_experiment
from rnnzoo.runs.store import load_run
from rnnzoo.tasks.classifier.config import ClassifierWords
from rnnzoo.tasks.question_answerer.config import QuestionAnswererConfig
from rnnzoo.tasks.question_answerer.model import build_question_answerer, last_only
from rnnzoo.tasks.question_answerer.task import QuestionAnswererTask

CONFIG = ClassifierWords(dataset="own", min_count=1)


def story(text, task="qa1"):
    return Story(text.split(), task)


ROWS = [
    (story("mary sat here . where is mary ?"), "here"),
    (story("mary sat here . john ran there . where is john ?"), "there"),
    (story("john ran here . is it here ?", "qa6"), "yes"),
]


@pytest.fixture(scope="module")
def problem():
    return QuestionAnswererTask.from_source(Source("story-answer", {"train": ROWS, "dev": ROWS}), CONFIG)


def test_figures_are_given_for_each_kind_of_question(problem):
    figures = problem.score("dev", ["here", "here", "yes"])
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert (figures["qa1_accuracy"], figures["qa6_accuracy"]) == (0.5, 1.0)


def test_a_story_without_a_question_is_one_line():
    rows = [*ROWS, (story("mary sat here ."), "here")]
    with pytest.raises(DataError, match=r"story 4 of split 'dev' has no question: expected '\?' as its last word; rec"):
        QuestionAnswererTask.from_source(Source("story-answer", {"train": ROWS, "dev": rows}), CONFIG)
    with pytest.raises(DataError, match="received 'nothing'"):
        QuestionAnswererTask.from_source(Source("story-answer", {"train": ROWS, "dev": [(story(""), "x")]}), CONFIG)
    with pytest.raises(DataError, match=r"'own' has no '\.': statements end with"):
        QuestionAnswererTask.from_source(
            Source("story-answer", {"train": [(story("who ?"), "x")], "dev": ROWS}), CONFIG
        )


@pytest.mark.slow
def test_training_answers_the_last_question_alone_with_the_same_weights(problem, tmp_path):
    model = build_question_answerer(QuestionAnswererConfig(units=6, memories=2, hops=2), problem.encoder)
    batch, *_ = next(problem.batches("dev", 3))[1]
    np.testing.assert_allclose(last_only(model).predict_on_batch(batch), model.predict_on_batch(batch), atol=1e-6)
    assert {id(v) for v in last_only(model).trainable_variables} == {id(v) for v in model.trainable_variables}
    path = tmp_path / "reader.tflite"
    metadata = {"task": problem.spec(CONFIG, problem.encoder), "files": problem.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    assert problem.evaluate_stream(streaming.load(path), "dev") == pytest.approx(problem.evaluate(model, "dev"))
    # A story goes on after a question, as if it had not been asked.
    session, reader = streaming.pipeline(path).session(), streaming.pipeline(path)
    session.feed("mary sat here . where is mary ?".split())
    after = session.feed("john ran there . where is john ?".split())[-1]
    alone = reader.classify("mary sat here . john ran there . where is john ?".split())
    np.testing.assert_allclose(after.scores, alone.scores, atol=1e-6)


@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
@pytest.mark.slow
def test_a_small_model_of_real_stories_trains_and_streams(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path / "tfds"))
    small = ["data.limit=60", "model.units=8", "model.memories=6", "training.epochs=1"]
    saved = run_experiment(load_config(find_config("qa-babi"), small), tmp_path / "run")
    assert np.isfinite(saved["history"]["loss"][0])
    found = evaluate_run(load_run(tmp_path / "run"), "dev")
    assert found["float32"]["max_abs_error"] < 1e-4
    for key, value in found["offline"].items():
        assert found["float32"][key] == pytest.approx(value)
