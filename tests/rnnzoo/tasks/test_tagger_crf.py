"""A tagger with a chain of labels: what is minimized, decoded, exported and counted."""

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.data.mirror import find_mirror
from rnnzoo.errors import ConfigError
from rnnzoo.registry.names import find_config
from rnnzoo.runs.building import build_model, load_task
from rnnzoo.runs.config import load_config, parse_config
from rnnzoo.runs.experiment import evaluate_run, run_experiment
from rnnzoo.runs.export import export_run
from rnnzoo.runs.store import load_run
from rnnzoo.tasks.tagger.task import chain_layer

CONFIG = """
name: entities
topology: tagger
seed: 1
data: {dataset: "conll:FOLDER", inputs: [words], min_count: 1}
model: {head: crf, word_size: 8, char_filters: 0, affix_size: 0, conv_units: 8, units: 8,
        dropout: 0.0, input_dropout: 0.0, word_dropout: 0.0, lookahead: 1, context: 0}
training: {epochs: 2, batch_size: 8, learning_rate: 0.02}
"""
TAGS = {"new": "B-place", "york": "I-place", "runs": "O", "anna": "B-person"}


def entities(folder):
    """The configuration of a tagger of words in a random order; `york` begins a place where no `new` is before it."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 60), ("dev", 10), ("test", 10)):
        lines = []
        for _ in range(count):
            words = [str(word) for word in rng.choice(list(TAGS), rng.integers(2, 7))]
            tags, before = [], "O"
            for word in words:
                tag = TAGS[word]
                before = "B-place" if tag == "I-place" and not before.endswith("place") else tag
                tags.append(before)
            lines += [f"{i}\t{w}\t_\t{t}" for i, (w, t) in enumerate(zip(words, tags, strict=True), 1)] + [""]
        (folder / f"{split}.conllu").write_text("\n".join(lines) + "\n")
    return parse_config(CONFIG.replace("FOLDER", str(folder)), "entities")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("entities")
    run_experiment(entities(folder), folder / "run")
    return load_run(folder / "run")


def test_the_chain_is_trained_with_the_model(run):
    assert np.abs(keras.ops.convert_to_numpy(chain_layer(run.model).transitions)).max() > 0.01


@pytest.mark.slow
def test_a_stream_takes_the_best_path_that_the_layer_takes(run, tmp_path):
    chain = chain_layer(run.model)
    chain.transitions.assign(np.random.default_rng(1).normal(size=chain.transitions.shape) * 3)
    export_run(run, tmp_path / "model.tflite")
    task, problem = streaming.pipeline(tmp_path / "model.tflite"), load_task(run.config, run.encoder)
    by_rows = 0
    for words, _ in problem.examples("test"):
        arrays = {name: value[None] for name, value in run.encoder.encode(words).items()}
        logits = run.model(arrays)
        expected = keras.ops.convert_to_numpy(chain.decode(logits))[0]
        assert [token.tag for token in task.tag(words)] == [problem.labels[k] for k in expected]
        by_rows += int((expected != keras.ops.convert_to_numpy(logits)[0].argmax(-1)).sum())
    # Such scores change what each row by itself would say.
    assert by_rows > 0
    figures = evaluate_run(run)
    assert figures["float32"]["entity_f1"] == figures["offline"]["entity_f1"]


def test_entities_are_counted_whole(run):
    problem = load_task(run.config, run.encoder)
    problem.splits["own"] = [(["anna", "runs"], ["B-person", "O"]), (["new", "york"], ["B-place", "I-place"])]
    figures = problem.score("own", [["B-person", "B-place"], ["B-place", "O"]])
    # One of two entities is found whole, among three guesses.
    assert figures["entity_recall"] == 1 / 2
    assert figures["entity_precision"] == pytest.approx(1 / 3)
    assert figures["entity_f1"] == pytest.approx(0.4)
    assert figures["accuracy"] == 1 / 2


def test_an_unknown_head_is_refused():
    with pytest.raises(ConfigError, match="softmax, crf; received 'hmm'"):
        parse_config(CONFIG.replace("head: crf", "head: hmm"), "entities")


@pytest.mark.skipif(find_mirror() is None, reason="RNNZOO_DATA_MIRROR names no folder with the data sets")
@pytest.mark.slow
def test_the_zoo_s_tagger_of_entities_obeys_the_scheme(tmp_path):
    config = load_config(
        find_config("ner-wnut17"), ["data.limit=60", "model.units=8", "model.conv_units=8", "data.min_count=1"]
    )
    problem = load_task(config)
    model = build_model(config, problem.encoder)
    problem.training_model(model, 8)
    model.compile("adam", problem.loss(config.training), weighted_metrics=problem.metrics(), jit_compile=False)
    losses = model.fit(problem.dataset("train", 16, training=True), epochs=2, shuffle=False, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    for row in problem.best(model, "dev", 16):
        before = "O"
        for tag in (problem.labels[k] for k in row):
            assert not tag.startswith("I-") or before[2:] == tag[2:]
            before = tag
    with pytest.raises(streaming.NotStreamableError):
        streaming.convert(model, tmp_path / "never.tflite")
