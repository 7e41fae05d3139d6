"""Training from the weights of another model: what is copied, row by row, and what stays fresh."""

import dataclasses

import numpy as np
import pytest
from zoo_runs import colours

from rnnzoo.cli.main import main
from rnnzoo.errors import ConfigError
from rnnzoo.runs.building import build_model
from rnnzoo.runs.store import load_run, save_run
from rnnzoo.runs.transfer import start_from
from streaming.runtime.text import Vocabulary


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours")
    config, data = colours(folder)
    model = build_model(config, data.encoder)
    rng = np.random.default_rng(0)
    model.set_weights([rng.random(size=w.shape).astype("float32") for w in model.weights])
    save_run(folder / "run", model, config, data.encoder.to_files(), {"dev": {"accuracy": 0.5}})
    return folder / "run", config, model, data.encoder


def arrays(model):
    return {variable.path: np.array(variable) for variable in model.weights}


def test_rows_go_by_the_words_and_labels_stay_fresh(source):
    path, config, model, encoder = source
    words = ("unseen", *reversed(encoder.words.entries))
    other = dataclasses.replace(encoder, words=Vocabulary(words), labels=tuple(reversed(encoder.labels)))
    fresh = build_model(config, other)
    before = arrays(fresh)
    copied = start_from(fresh, other, path)
    after, theirs = arrays(fresh), arrays(model)
    table = next(name for name in after if name.startswith("word_embedding"))
    np.testing.assert_array_equal(after[table][2], before[table][2])  # the unseen word
    for word in encoder.words.entries:
        np.testing.assert_array_equal(after[table][other.words.id(word)], theirs[table][encoder.words.id(word)])
    changed = [name for name in after if name != table and (after[name] != before[name]).any()]
    assert changed == [name for name in after if name != table and not name.startswith("logits")]
    for name in changed:
        np.testing.assert_array_equal(after[name], theirs[name])
    assert copied == sum(after[name].size for name in changed) + (after[table].shape[0] - 1) * after[table].shape[1]


def test_the_same_labels_are_copied_too(source):
    path, config, model, encoder = source
    fresh = build_model(config, encoder)
    start_from(fresh, encoder, path)
    for name, array in arrays(model).items():
        np.testing.assert_array_equal(array, arrays(fresh)[name], name)


def test_a_run_of_other_sizes_is_refused(source):
    path, config, _, encoder = source
    wider = {f.name: getattr(config.model, f.name) for f in dataclasses.fields(config.model)}
    wider = {name: value * 3 if name.endswith(("units", "size", "filters")) else value for name, value in wider.items()}
    other = dataclasses.replace(encoder, labels=("one", "two", "three", "four", "five"))
    fresh = build_model(dataclasses.replace(config, model=type(config.model)(**wider)), other)
    with pytest.raises(ConfigError, match="names and sizes"):
        start_from(fresh, other, path)


@pytest.mark.slow
def test_the_command_starts_from_a_run_and_says_so(source, tmp_path):
    path, *_ = source
    start = ["--start", str(path), "training.epochs=1", "training.learning_rate=1e-12", "training.ema=null"]
    assert main(["train", str(path / "config.yaml"), "--out", str(tmp_path / "out"), *start]) == 0
    again = load_run(tmp_path / "out")
    assert f"--start {path.name}" in again.metrics["made"]["command"]
    for name, array in arrays(load_run(path).model).items():
        np.testing.assert_allclose(arrays(again.model)[name], array, atol=1e-6, err_msg=name)
