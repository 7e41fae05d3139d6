"""Sequences with a beginning and an end: what is learnt, measured and drawn."""

import numpy as np
import pytest

import streaming
from rnnzoo.data.source import Source
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.generator.config import GeneratorConfig
from rnnzoo.tasks.sequence_generator.config import LinesConfig
from rnnzoo.tasks.sequence_generator.model import build_sequence_generator
from rnnzoo.tasks.sequence_generator.task import SequenceGeneratorTask
from streaming.runtime.codec import END, START

LINES = ["CCO", "CCN", "CCCCO", "C1CC1", "CC(C)O"]


@pytest.fixture(scope="module")
def made():
    config = LinesConfig(dataset="drawn", grammar="smiles", samples=20, max_length=30, temperature=0.8)
    splits = {name: [(text, None) for text in LINES] for name in ("train", "dev", "test")}
    task = SequenceGeneratorTask.from_source(Source("lines", splits), config, seed=1)
    return task, build_sequence_generator(GeneratorConfig(token_size=4, units=8), task.encoder)


def test_a_line_begins_with_a_start_and_ends_with_an_end(made):
    task, _ = made
    row = task.arrays("train")[3]
    ids = [task.encoder.labels.index(letter) for letter in "C1CC1"]
    assert row["tokens"].tolist() == [START, *ids]
    assert row["targets"].tolist() == [*ids, END]
    _, targets, weights = next(iter(task.batches("dev", 5)))[1]
    assert weights.sum() == sum(len(text) + 1 for text in LINES)
    assert targets.shape == weights.shape


def test_a_stream_draws_and_measures_what_the_keras_model_does(made, tmp_path):
    task, model = made
    offline = task.evaluate(model, "dev")
    assert offline["nats"] == pytest.approx(np.log(len(task.encoder.labels)), abs=0.3)
    assert offline["count"] == sum(len(text) + 1 for text in LINES)
    path = tmp_path / "lines.tflite"
    metadata = {"task": task.spec(task.config, task.encoder), "files": task.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    streamed = task.evaluate_stream(streaming.load(path), "dev")
    assert streamed == pytest.approx(offline, abs=1e-5, nan_ok=True)
    generator = streaming.pipeline(path)
    assert generator.spec.temperature == 0.8
    assert task.drawn(model) == [generator.generate(seed=seed) for seed in range(20)]


def test_n_grams_know_where_lines_begin_and_end(made):
    task, _ = made
    baseline = task.baseline("dev")
    assert baseline.name == "6-gram"
    assert baseline.figures["count"] >= sum(len(text) + 1 for text in LINES)
    assert baseline.figures["nats"] < 0.8
    assert 0.5 < baseline.figures["valid"] <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grammar": "latin"}, "data.grammar is one of none, smiles; received 'latin'"),
        ({"level": "pages"}, "data.level is one of"),
        ({"level": "subwords"}, "needs data.vocabulary"),
    ],
)
def test_mistakes_of_a_configuration_are_one_line(options, message):
    with pytest.raises(ConfigError, match=message):
        LinesConfig(dataset="drawn", **options)
