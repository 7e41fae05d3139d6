"""Saved runs: what comes back is what went in, and nothing is ever half-written."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file
from zoo_runs import colours

import rnnzoo
from rnnzoo.errors import ConfigError, DataError, HubError
from rnnzoo.hub.manifest import Manifest, describe_bundle, dump_manifest
from rnnzoo.registry import layout
from rnnzoo.runs.building import build_model
from rnnzoo.runs.export import export_run
from rnnzoo.runs.store import count_parameters, load_run, save_run
from streaming import pipeline


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    config, data = colours(tmp_path_factory.mktemp("colours"))
    model = build_model(config, data.encoder)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape).astype("float32") for w in model.weights])
    return model, config, data.encoder


@pytest.fixture
def run(made, tmp_path):
    model, config, encoder = made
    return save_run(tmp_path / "run", model, config, encoder.to_files(), {"dev": {"accuracy": 0.5}})


def predict(model, encoder):
    arrays = encoder.encode(["red", "blue", "unknown", "green"])
    return model.predict_on_batch({name: array[None] for name, array in arrays.items()})


def test_a_run_comes_back(made, run):
    model, config, encoder = made
    found = load_run(run)
    assert (found.config, found.metrics, found.path) == (config, {"dev": {"accuracy": 0.5}}, run)
    assert found.encoder.to_files() == encoder.to_files()
    np.testing.assert_array_equal(predict(found.model, found.encoder), predict(model, encoder))
    assert count_parameters(run) == model.count_params()


def test_half_precision_halves_the_weights_and_keeps_them_near(made, run, tmp_path):
    model, config, encoder = made
    half = save_run(tmp_path / "half", model, config, encoder.to_files(), {}, dtype="float16")
    stored = load_file(half / "weights.safetensors")
    assert {array.dtype for array in stored.values()} == {np.dtype("float16")}
    for weight, other in zip(model.get_weights(), load_run(half).model.get_weights(), strict=True):
        np.testing.assert_allclose(other, weight, rtol=1e-3, atol=1e-6)


def test_names_of_weights_do_not_depend_on_the_process(made, run):
    model, config, encoder = made
    again = build_model(config, encoder)
    assert [w.path for w in again.weights] == [w.path for w in model.weights]
    assert sorted(load_file(run / "weights.safetensors")) == sorted(w.path for w in model.weights)


def test_a_run_is_replaced_whole(made, run):
    model, config, encoder = made
    (run / "stray.txt").write_text("old")
    save_run(run, model, config, encoder.to_files(), {"new": 1})
    assert load_run(run).metrics == {"new": 1}
    assert not (run / "stray.txt").exists()
    assert os.listdir(run.parent) == ["run"]


@pytest.mark.parametrize("call", ["write_bytes", "rename", "fsync"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_save_leaves_what_was_there(call, error, made, run, tmp_path, monkeypatch):
    model, config, encoder = made
    owner = pathlib.Path if call == "write_bytes" else os
    real, calls = getattr(owner, call), []

    def fail(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 2:  # the second rename puts the new folder in its place
            raise error
        return real(*arguments, **more)

    before = {path.name: path.read_bytes() for path in run.iterdir()}
    monkeypatch.setattr(owner, call, fail)
    expected = ConfigError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        save_run(run, model, config, encoder.to_files(), {"new": 1})
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert os.listdir(tmp_path) == ["run"]


def test_other_folders_are_not_replaced(made, tmp_path):
    model, config, encoder = made
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is no saved run"):
        save_run(tmp_path / "thesis", model, config, encoder.to_files(), {})
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    with pytest.raises(ConfigError, match="float32, float16; received 'int4'"):
        save_run(tmp_path / "run", model, config, encoder.to_files(), {}, dtype="int4")


def test_two_weights_of_one_name_are_refused(made, tmp_path):
    _, config, encoder = made
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), keras.layers.Dense(3)])
    model.layers[1].kernel._path = model.layers[0].kernel.path
    with pytest.raises(ConfigError, match="two weights are called"):
        save_run(tmp_path / "run", model, config, encoder.to_files(), {})


def change_config(run, old, new):
    path = run / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (lambda run: change_config(run, "\n  units: 8", "\n  units: 9"), DataError, "recurrent_0/lstm_cell/kernel"),
        (lambda run: change_config(run, "topology: tagger", "topology: x"), ConfigError, "tagger, transcriber"),
        (lambda run: (run / "words.txt").write_text("red\n"), DataError, "words.txt does not fit the weights"),
        (lambda run: (run / "labels.txt").write_text("R\nB\n"), DataError, "labels.txt does not fit the weights"),
        (lambda run: (run / "words.txt").unlink(), DataError, "needs words.txt"),
        (lambda run: (run / "weights.safetensors").write_bytes(b"junk"), DataError, "no file of weights"),
        (lambda run: (run / "weights.safetensors").unlink(), ConfigError, "weights.safetensors is missing"),
        (lambda run: (run / "config.yaml").unlink(), ConfigError, "config.yaml is missing"),
        (lambda run: (run / "metrics.json").write_text("{"), DataError, "metrics.json is no JSON"),
    ],
)
def test_what_does_not_fit_is_named(damage, error, said, run):
    damage(run)
    with pytest.raises(error) as raised:
        load_run(run)
    assert said in str(raised.value)
    assert str(run) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_exported_run_needs_nothing_else(made, run, tmp_path):
    loaded = load_run(run)
    report = export_run(loaded, tmp_path / "tagger.tflite")
    assert report.max_abs_error < 1e-5
    tagger = pipeline(tmp_path / "tagger.tflite")
    words = ["red", "blue", "pink", "green"]
    arrays = {name: array[None] for name, array in loaded.encoder.encode(words).items()}
    best = loaded.model.predict_on_batch(arrays)[0].argmax(axis=-1)
    assert [token.tag for token in tagger.tag(words)] == [loaded.encoder.labels[i] for i in best]
    assert tagger.model.metadata.source.more["name"] == "colours"


def test_the_public_functions_find_bundles(made, tmp_path, monkeypatch):
    model, config, encoder = made
    monkeypatch.setattr(layout, "root", lambda: tmp_path)
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RNNZOO_URL", raising=False)
    with pytest.raises(HubError, match="clone of the repository"):
        rnnzoo.load("colours")
    bundle = save_run(tmp_path / "pretrained" / "colours", model, config, encoder.to_files(), {})
    manifest = Manifest(1, {"colours": describe_bundle(bundle, licence="Apache-2.0", data_licence="CC0")})
    (tmp_path / "zoo_configs").mkdir()
    (tmp_path / layout.MANIFEST).write_text(dump_manifest(manifest))
    assert rnnzoo.list_models() == rnnzoo.list_models("col*", pretrained=True) == ["colours"]
    assert rnnzoo.list_models(pretrained=False) == rnnzoo.list_models("x*") == []
    np.testing.assert_array_equal(predict(rnnzoo.load("colours"), encoder), predict(model, encoder))
    fresh = rnnzoo.create("colours", units=5)
    assert fresh.get_layer("recurrent_0").units == 5
    with pytest.raises(ConfigError, match=r"did you mean 'model\.units'"):
        rnnzoo.create("colours", unit=5)
    with pytest.raises(HubError, match="did you mean 'colours'"):
        rnnzoo.load("colour")
    assert json.loads((tmp_path / "pretrained" / "colours" / "metrics.json").read_text()) == {}


@pytest.mark.slow
def test_the_first_model_of_a_process_has_the_weights_of_the_second():
    """Importing layers for the first time draws random numbers; a sweep builds many models in one process."""
    program = """
import rnnzoo
first, second = (rnnzoo.create("speaker-vowels", units=3).get_weights() for _ in range(2))
assert all((a == b).all() for a, b in zip(first, second))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
