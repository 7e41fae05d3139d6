"""Figures by independent code: what evaluations by an interpreter, NumPy and raw files say is what cards say."""

import ast
import dataclasses
import importlib
import sys
from pathlib import Path

import pytest
from places import ROOT

import streaming
from rnnzoo.data.mirror import find_mirror
from rnnzoo.data.source import Source
from rnnzoo.runs.config import load_config
from rnnzoo.runs.store import read_encoder, read_metrics
from rnnzoo.tasks.discovery import task_class

HERE = Path(__file__).parent
# How much of a test split the suite takes: examples, windows, characters, series or seconds.
SLICES = {
    "anomaly_detector": 1,
    "captioner": 4,
    "classifier": 60,
    "controller": 4,
    "forecaster": 40,
    "generator": 1500,
    "keyword_spotter": 9,
    "polyphony": 5,
    "sequence_tagger": 60,
    "sketcher": 3,
    "styled_generator": 6,
    "synthesizer": 6,
    "tagger": 60,
    "transcriber": 8,
    "translator": 4,
    "wait_k": 8,
}
# What several sums in another order may differ by; a decision that is close may fall otherwise.
CLOSE = {"abs": 1e-4, "rel": 1e-4}
ALLOWED = {"PIL", "numpy", "oracle", "oracle_transcriber", "oracle_translator", "soundfile", "stream", "tasks"}


@pytest.fixture
def oracle(request):
    sys.path.insert(0, str(HERE))
    try:
        yield importlib.import_module(f"oracle_{request.param}")
    finally:
        sys.path.remove(str(HERE))


@pytest.fixture
def data():
    if (folder := find_mirror()) is None:
        pytest.skip("no ../shared/data, and RNNZOO_DATA_MIRROR is not set: no raw files to read")
    return folder


def test_oracles_import_nothing_that_is_under_test():
    names = {path.stem.removeprefix("oracle_") for path in HERE.glob("oracle_*.py")}
    assert names == set(SLICES)
    for path in HERE.glob("oracle*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [node.module] if isinstance(node, ast.ImportFrom) else []
            strange = {name.split(".")[0] for name in found} - sys.stdlib_module_names - ALLOWED
            assert not strange, f"{path.name}: {strange}"


@pytest.mark.parametrize("oracle", SLICES, indirect=True)
def test_a_slice_has_the_figures_of_the_task_object(oracle, data):
    name = oracle.__name__.removeprefix("oracle_")
    rows = oracle.examples(data, SLICES[name])
    folder = ROOT / "pretrained" / oracle.BUNDLE
    config = load_config(folder / "config.yaml")
    settings = config.data
    if name == "keyword_spotter":
        settings = dataclasses.replace(settings, noise=(), negatives=(), unheard=())
    if name == "synthesizer":  # the density alone is compared; what is drawn costs a minute
        settings = dataclasses.replace(settings, draws=1, iterations=0)
    # What the task measures beside the model needs something for training.
    source = Source(oracle.KIND, {"train": rows, "test": rows})
    task = task_class(config.topology).from_source(source, settings, encoder=read_encoder(folder, config))
    streamed = task.evaluate_stream(streaming.load(folder / "float32.tflite"), "test")
    found = oracle.figures(oracle.oracle.open_bundle(oracle.BUNDLE), rows)
    assert found == pytest.approx({key: streamed[key] for key in found}, **CLOSE)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("oracle", SLICES, indirect=True)
def test_the_card_has_the_figures_of_the_oracle(oracle, data):
    stored = read_metrics(ROOT / "pretrained" / oracle.BUNDLE)["test"]["float32"]
    found = oracle.evaluate(data)
    assert found == pytest.approx({key: stored[key] for key in found}, rel=1e-3)


def test_bleu_by_its_definition_is_that_of_the_library():
    sys.path.insert(0, str(HERE))
    try:
        oracle = importlib.import_module("oracle")
    finally:
        sys.path.remove(str(HERE))
    from sacrebleu.metrics import BLEU

    written = ['The "cat" sat, on 3.5 mats-2 &amp; left.', "a dog", "ein Hund läuft (schnell) weg!"]
    references = [["The cat sat on 3.5 mats-2 & left."], ["the dog", "a big dog"], ["Ein Hund läuft schnell weg!"]]
    for lower in (False, True):
        theirs = BLEU(lowercase=lower).corpus_score(written, [[r[0] for r in references]]).score
        assert oracle.bleu(written, [r[:1] for r in references], lower) == pytest.approx(theirs, rel=1e-9)
    assert oracle.bleu(["no match"], [["at all"]]) == pytest.approx(
        BLEU().corpus_score(["no match"], [["at all"]]).score
    )
    assert oracle.edits("kitten", "sitting") == 3
