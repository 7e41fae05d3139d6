"""Every bundle of the repository is what it says, and how bundles are made."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from client_vectors import ALIKE
from places import ROOT
from scripts import load_script
from zoo_runs import colours

import rnnzoo
import streaming
from rnnzoo.bundles import build, cards
from rnnzoo.bundles.converted import TOLERANCE, load_ready
from rnnzoo.bundles.reference import REFERENCE_FILE, prove
from rnnzoo.cli import main
from rnnzoo.data.mirror import find_mirror
from rnnzoo.data.terms import Terms, terms_of
from rnnzoo.errors import ConfigError, DataError, HubError
from rnnzoo.hub import dump_manifest, parse_manifest
from rnnzoo.hub.cache import wrong_with
from rnnzoo.layers import CRF, CRFLoss
from rnnzoo.registry import layout
from rnnzoo.runs.building import build_model
from rnnzoo.runs.config import load_config
from rnnzoo.runs.store import load_run, read_metrics, save_run
from rnnzoo.tasks.discovery import task_class
from rnnzoo.util.licences import linked

NAMES = rnnzoo.list_models(pretrained=True)
STREAMED = [name for name in NAMES if (ROOT / "pretrained" / name / "float32.tflite").exists()]
# These need Keras to predict.
KERAS = set(NAMES) - set(STREAMED)
MANIFEST = ROOT / layout.MANIFEST
MAX_ZOO_BYTES = 112e6
# Every test run takes the smallest model; the rest are for `make test-slow`.
QUICK = "speaker-vowels"
QUICK_FIRST = [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    for name in ("RNNZOO_URL", "RNNZOO_OFFLINE", "RNNZOO_PUBLIC_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_manifest_is_that_of_the_files():
    stored = parse_manifest(MANIFEST.read_bytes(), "it")
    assert sorted(stored.bundles) == NAMES
    for name, bundle in stored.bundles.items():
        assert wrong_with(ROOT / "pretrained" / name, bundle) is None, f"{name}: run tools/make_manifest.py"
    assert dump_manifest(build.build_manifest()) == MANIFEST.read_text(encoding="utf-8")
    assert sum(bundle.size for bundle in stored.bundles.values()) < MAX_ZOO_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_what_is_so(name):
    folder = ROOT / "pretrained" / name
    card, metrics = (folder / "card.md").read_text(encoding="utf-8"), read_metrics(folder)
    config = load_config(folder / "config.yaml")
    assert card == cards.write_card(config, metrics, cards.read_notes(name))
    assert linked(terms_of(config.data.dataset).licence) in card
    for row in (metrics["test"][kind] for kind in cards.KINDS if kind in metrics["test"]):
        for metric in cards.measures(row):
            assert cards.figure(metric, row[metric]) in card
    assert re.search(r"Commit [0-9a-f]{40}\.", card)


@pytest.mark.parametrize(
    # Loading Keras takes longest of all, and these need it; other models of the same tasks stand for ALIKE.
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in KERAS | ALIKE else name for name in NAMES],
)
def test_five_lines_from_nothing_to_a_prediction(name, cache, tmp_path):
    (code,) = BLOCK.findall((ROOT / "pretrained" / name / "card.md").read_text(encoding="utf-8"))
    lines = [line for line in code.splitlines() if line and not line.startswith("import ")]
    assert len(lines) <= 5
    last = "\nimport sys\nassert not {'tensorflow', 'keras'} & set(sys.modules)\n" if name in STREAMED else ""
    environment = os.environ | {"RNNZOO_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code + last], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("name", STREAMED)
def test_ready_files_stream_what_keras_gives(name):
    folder = ROOT / "pretrained" / name
    models = load_ready(folder)
    assert models is not None
    if (folder / REFERENCE_FILE).exists():
        proof = prove(models["float32"], folder / REFERENCE_FILE, seed=7)
        assert proof.max_relative_error < TOLERANCE
        assert proof.sequences >= (5 if models["float32"].metadata.encode is None else 2)
        other = prove(models["int8"], folder / REFERENCE_FILE)
        assert proof.max_abs_error < other.max_abs_error


@pytest.mark.parametrize("name", QUICK_FIRST)
def test_a_loaded_model_is_ready_for_fine_tuning(name, cache):
    model = rnnzoo.load(name)
    rng = np.random.default_rng(0)
    given = {x.name: _random(x, rng) for x in model.inputs}
    before = model.predict(given, verbose=0)
    if isinstance(before, dict | list):
        pytest.skip("several outputs")
    targets = rng.integers(0, before.shape[-1], before.shape[:-1])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    config = load_config(ROOT / "pretrained" / name / "config.yaml")
    if chains := [layer for layer in model.layers if isinstance(layer, CRF)]:
        loss = CRFLoss(chains[0])
    elif getattr(config.data, "multi_label", False):
        targets, loss = rng.integers(0, 2, before.shape), keras.losses.BinaryCrossentropy(from_logits=True)
    elif not task_class(config.topology).class_targets:
        targets, loss = rng.normal(size=before.shape), keras.losses.MeanSquaredError()
    model.compile(keras.optimizers.Adam(3e-3), loss=loss, jit_compile=False)
    history = model.fit(given, targets, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert not np.allclose(model.predict(given, verbose=0), before)


def _random(tensor, rng):
    shape = [8, tensor.shape[1] or 12, *tensor.shape[2:]]
    if tensor.dtype.startswith("float"):
        return rng.normal(size=shape).astype(tensor.dtype)
    return rng.integers(0, 10, shape).astype(tensor.dtype)


def tool(name):
    return load_script(name)


@pytest.mark.parametrize("name", QUICK_FIRST)
def test_the_stored_figures_are_found_again(name, capsys):
    if find_mirror() is None:
        pytest.skip("no ../shared/data, and RNNZOO_DATA_MIRROR is not set: no real data to measure on")
    assert tool("make_results").main([name, "--check"]) == 0
    # Before it a line says that data are prepared, the first time.
    assert capsys.readouterr().out.splitlines()[-1] == f"{name}: as stored"


def test_a_figure_that_moved_is_seen():
    differences = tool("make_results").differences
    kept = {"offline": {"accuracy": 0.9, "unseen": None, "count": 5.0}, "int8": {"accuracy": 0.9, "size_bytes": 7}}
    same = {"offline": {"accuracy": 0.902, "unseen": float("nan")}, "int8": {"accuracy": 0.9}}
    assert list(differences(kept, same)) == []
    assert list(differences(kept, {**same, "int8": {"accuracy": 0.88}})) == [
        "int8 accuracy: stored 0.9, found 0.88",
    ]
    few = {"int8": {"accuracy": 0.9, "count": 100.0}}
    assert list(differences(few, {"int8": {"accuracy": 0.89, "count": 100.0}})) == []
    assert len(list(differences(few, {"int8": {"accuracy": 0.88, "count": 100.0}}))) == 1
    assert len(list(differences(kept, {"offline": same["offline"]}))) == 1


def test_the_results_are_those_of_the_bundles():
    results = tool("make_results")
    import csv

    with (ROOT / "zoo_configs" / "results.csv").open(newline="") as file:
        stored = list(csv.DictReader(file))
    assert sorted({row["name"] for row in stored}) == NAMES
    for name in NAMES:
        made = list(results.rows(name, results.stored(name)))
        found = [row for row in stored if row["name"] == name]
        assert found == made
    for name, table in (("README.md", results.short_table), ("docs/results.md", results.full_table)):
        page = (ROOT / name).read_text(encoding="utf-8")
        assert results.with_table(page, table(stored), name) == page
    with pytest.raises(rnnzoo.RnnzooError, match=r"page\.md: expected <!-- results -->"):
        results.with_table("no markers", [], "page.md")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    config, problem = colours(folder / "data")
    model = build_model(config, problem.encoder)
    metrics = {"dev": {"accuracy": 0.5}, "history": {"loss": [1.0]}}
    return save_run(folder / "run", model, config, problem.encoder.to_files(), metrics, "float16")


NOTES = "Colours.\n\n## Use\n\nUse it.\n\n## Intended use\n\nTests.\n\n## Limits\n\nThree words.\n"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "root", lambda: tmp_path)
    folder = tmp_path / "zoo_configs" / "tagger"
    folder.mkdir(parents=True)
    monkeypatch.setitem(sys.modules["rnnzoo.data.terms"]._TERMS, "conll:", Terms("Colours", "CC0", "Nobody", "no"))
    return folder


def test_a_run_becomes_a_bundle(run, repository, tmp_path, capsys, monkeypatch):
    shutil.copyfile(run / "config.yaml", repository / "colours.yaml")
    (repository / "colours.md").write_text(NOTES)
    assert main(["bundle", str(run), "--commit", "c" * 40]) == 0
    made = tmp_path / "pretrained" / "colours"
    metrics = read_metrics(made)
    assert metrics["test"]["float32"]["accuracy"] == metrics["test"]["offline"]["accuracy"]
    assert (metrics["dtype"], metrics["check"]["limit"]) == ("float16", build.CHECK_EXAMPLES)
    assert "c" * 40 in (made / "card.md").read_text()
    assert "CC0" in (made / "card.md").read_text()
    assert load_ready(made) is not None
    first = (tmp_path / layout.MANIFEST).read_text()
    assert main(["bundle", str(made), "--commit", "d" * 40]) == 0
    second = (tmp_path / layout.MANIFEST).read_text()
    assert (first.splitlines()[0], second.splitlines()[0]) == ("serial: 1", "serial: 2")
    build.write_manifest()
    assert (tmp_path / layout.MANIFEST).read_text() == second
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RNNZOO_URL", tmp_path.as_uri())
    assert load_run(rnnzoo.download("colours")).config.name == "colours"
    assert streaming.pipeline(rnnzoo.download("colours")).tag(["red"])[0].word == "red"


@pytest.mark.parametrize("damage", ["weights", "words.txt", "reference.safetensors", "int8.tflite", "metrics.json"])
def test_ready_files_that_are_not_current_are_not_used(damage, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(ROOT / "pretrained" / "tagger-en-ewt-stream", folder)
    path = folder / ("weights.safetensors" if damage == "weights" else damage)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data if damage != "metrics.json" else b"{}")
    assert load_ready(folder) is None


def test_what_a_bundle_needs_is_named(run, repository, tmp_path, capsys, monkeypatch):
    assert main(["bundle", str(run)]) == 2
    assert "colours.md is missing: a card needs" in capsys.readouterr().err
    shutil.copyfile(run / "config.yaml", repository / "colours.yaml")
    (repository / "colours.md").write_text("Colours.\n\n## Use\n\nx\n")
    with pytest.raises(ConfigError, match=r"missing: \['Intended use', 'Limits'\]"):
        build.make_bundle(run, tmp_path / "pretrained")
    (repository / "colours.md").write_text(NOTES)
    other = {"name": "colours", "split": "dev", "offline": {}}
    (tmp_path / "dev.json").write_text(json.dumps(other))
    assert main(["bundle", str(run), "--test", str(tmp_path / "dev.json")]) == 2
    assert "expected figures of colours on its test split; received those of colours on dev" in capsys.readouterr().err
    monkeypatch.delitem(sys.modules["rnnzoo.data.terms"]._TERMS, "conll:")
    with pytest.raises(DataError, match="the terms of 'conll:"):
        build.make_bundle(run, tmp_path / "pretrained")
    assert not (tmp_path / "pretrained").exists() or not any((tmp_path / "pretrained").iterdir())


def test_an_unknown_model_is_one_error(cache):
    with pytest.raises(HubError, match="no pretrained model is called 'tagger'"):
        rnnzoo.load("tagger")
    with pytest.raises(HubError, match="expected the name of one model"):
        rnnzoo.download("tagger*")


@pytest.mark.slow
def test_a_bundle_is_written_anew_from_its_weights(tmp_path):
    folder = build.rewrite_bundle(ROOT / "pretrained" / QUICK, tmp_path)
    old, new = (read_metrics(path) for path in (ROOT / "pretrained" / QUICK, folder))
    assert {kind: cards.measures(found) for kind, found in new["test"].items()} == {
        kind: cards.measures(found) for kind, found in old["test"].items()
    }
    models = load_ready(folder)
    assert models is not None
    assert models["float32"].metadata.schema == 3
    vectors = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
    assert vectors["fingerprint"] == models["float32"].fingerprint
    assert f"{new['test']['int8']['size_bytes'] / 1e6:.2f} MB" in (folder / "card.md").read_text(encoding="utf-8")
    if importlib.util.find_spec("tflite_micro") is not None:
        assert 1024 < new["micro"]["arena_bytes"] < 64 * 1024
        assert (folder / "micro.tflite").stat().st_size == new["micro"]["size_bytes"]
        assert "`micro.tflite`" in (folder / "card.md").read_text(encoding="utf-8")


MICRO = sorted((ROOT / "pretrained").glob("*/micro.tflite"))


def test_what_microcontrollers_hold_has_a_file_for_them():
    kinds = {"digits-kws-stream", "wake-word", "ecg-beats-stream", "anomaly-nab", "speaker-vowels", "steer-arm"}
    assert kinds <= {path.parent.name for path in MICRO}


@pytest.mark.parametrize("path", MICRO, ids=lambda path: path.parent.name)
def test_the_file_for_microcontrollers_streams_as_the_ready_one(path):
    """On TensorFlow Lite for Microcontrollers where it is installed; the arena is what the card says."""
    runtime = "tflite_micro" if importlib.util.find_spec("tflite_micro") else "auto"
    small, exact = streaming.load(path, runtime=runtime), streaming.load(path.parent / "float32.tflite")
    x = np.random.default_rng(0).standard_normal((40, *exact.metadata.inputs[0].shape)).astype("float32")
    streams = [model.create_stream() for model in (small, exact)]
    rows = [np.concatenate([stream.feed(x), stream.finish()]) for stream in streams]
    np.testing.assert_allclose(*rows, rtol=0, atol=2e-5)
    micro = read_metrics(path.parent)["micro"]
    assert path.stat().st_size == micro["size_bytes"]
    assert micro["arena_bytes"] <= 64 * 1024
