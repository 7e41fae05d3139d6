"""Configurations on real data with small budgets: what `rnnzoo train` and `rnnzoo evaluate` do."""

import re
import socket

import numpy as np
import pytest
from places import ROOT

from rnnzoo.data.mirror import find_mirror
from rnnzoo.registry.names import find_config
from rnnzoo.runs.config import load_config
from rnnzoo.runs.experiment import evaluate_run, run_experiment
from rnnzoo.runs.store import load_run
from rnnzoo.tasks.discovery import task_names

pytestmark = pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")

WORDS = ["data.limit=60", "model.word_size=8", "model.units=12", "data.min_count=1"]
# Name -> settings that make it small.
SMALL = {
    "speaker-vowels": ["data.limit=60", "model.units=12"],
    "tagger-en-ewt-stream": [*WORDS, "model.conv_units=12", "model.char_filters=4", "model.affix_size=4"],
    "intent-clinc": WORDS,
    "charlm-lstm": ["model.token_size=4", "model.units=8", "training.batch_size=400"],
    "compose-chorales": ["data.limit=12", "data.transpose=0", "model.token_size=6", "model.units=8"],
    "draw-kanji": ["data.limit=60", "model.units=8", "model.mixtures=3"],
    "steer-arm": ["data.limit=20", "data.rounds=0", "data.seconds=0.3", "data.settle=0.1", "model.units=6"],
    "molecules": ["data.limit=200", "model.token_size=6", "model.units=8"],
    "lyrics-shakespeare": [
        "data.limit=60",
        "data.samples=1",
        "data.max_length=60",
        "model.token_size=6",
        "model.units=8",
    ],
    "say-digits": ["data.limit=60", "data.draws=1", "data.iterations=2", "model.prenet=8", "model.units=8"],
    "tagger-en-ewt-feedforward": [*WORDS, "model.char_filters=4", "model.affix_size=4"],
}


@pytest.fixture(scope="module", autouse=True)
def _prepared(tmp_path_factory):
    def refuse(*_):
        raise OSError("the test closes every socket")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNZOO_DATA_DIR", str(tmp_path_factory.mktemp("tfds")))
        patch.setattr(socket.socket, "connect", refuse)
        yield


def test_no_topology_is_left_out():
    """Those that are not here train on real data in the file of their own."""
    here = {load_config(find_config(name)).topology for name in SMALL}
    for topology in set(task_names()) - here:
        text = (ROOT / "tests" / "rnnzoo" / "tasks" / f"test_{topology}.py").read_text(encoding="utf-8")
        assert re.search(r"def test_\w*real_\w*train", text), topology


@pytest.mark.parametrize(
    "name", [name if name == "speaker-vowels" else pytest.param(name, marks=pytest.mark.slow) for name in SMALL]
)
def test_a_configuration_trains_converts_and_streams_the_same(name, tmp_path):
    config = load_config(find_config(name), [*SMALL[name], "training.epochs=1"])
    saved = run_experiment(config, tmp_path / "run")
    assert np.isfinite(saved["history"]["loss"][0])
    # A file is written only where the stream equals the offline model; the figures are of what users call.
    found = evaluate_run(load_run(tmp_path / "run"), "dev")
    assert found["float32"]["max_abs_error"] < 1e-4
    figures = {key: value for key, value in found["float32"].items() if key in found["offline"]}
    assert figures
    for key, value in figures.items():
        assert value == pytest.approx(found["offline"][key], rel=1e-5, abs=1e-6, nan_ok=True), key
    assert saved["dev"] == pytest.approx(found["offline"], nan_ok=True)
