"""`rnnzoo list` and `rnnzoo info`: what models cost, and pictures of their layers."""

import csv
import dataclasses
import re
import shutil

import keras
import pytest
from scripts import load_script
from zoo_runs import colours

from rnnzoo.cli import main
from rnnzoo.data.mirror import find_mirror
from rnnzoo.registry import layout
from rnnzoo.registry.names import find_bundle, find_config, list_models
from rnnzoo.runs import costs
from rnnzoo.runs.architecture import draw_architecture
from rnnzoo.runs.config import load_config, parse_config
from rnnzoo.runs.costs import find_costs, measure_costs, write_record
from rnnzoo.runs.store import read_encoder
from streaming.inspection import describe

# A GRU of 64 units that reads 12 numbers, with two biases, and 9 labels.
VOWELS = (3 * 64 * (12 + 64 + 2) + 9 * (64 + 1), 3 * 64 * (12 + 64) + 9 * 64, 4 * 64)


@pytest.fixture
def stale(tmp_path, monkeypatch):
    """A zoo of one configuration that has changed since its costs were recorded."""
    config = tmp_path / "zoo_configs" / "classifier" / "vowels.yaml"
    config.parent.mkdir(parents=True)
    shutil.copy(find_config("speaker-vowels"), config)
    monkeypatch.setattr(layout, "root", lambda: tmp_path)
    write_record({"vowels": costs.Costs(1, 2, 3)})
    assert find_costs("vowels") == (1, 2, 3, "")
    text = config.read_text()
    config.write_text(text.replace("epochs: 60", "epochs: 61"))
    assert find_costs("vowels") == (1, 2, 3, "")
    config.write_text(text.replace("units: 64", "units: 65"))


@pytest.mark.parametrize("name", list_models())
def test_every_model_says_what_it_costs(name):
    found = find_costs(name)
    assert found is not None, "run tools/make_costs.py"
    assert found.parameters > 1000
    assert found.multiply_adds > 1000
    assert (found.state_bytes is None) == bool(found.not_streamable)


def test_costs_are_those_of_the_equations():
    name = "speaker-vowels"
    assert find_costs(name)[:3] == VOWELS
    config = load_config(find_config(name))
    assert measure_costs(config, read_encoder(find_bundle(name), config))[:3] == VOWELS


@pytest.mark.slow
def test_a_model_that_does_not_stream_has_a_cost_for_a_step_and_a_reason(tmp_path):
    config, problem = colours(tmp_path)
    models = [dataclasses.replace(config.model, lookahead=0, bidirectional=both) for both in (False, True)]
    forwards, found = (measure_costs(dataclasses.replace(config, model=model), problem.encoder) for model in models)
    # An LSTM of 8 units that reads 8 numbers, twice, with biases; each of the labels reads both.
    labels = len(problem.encoder.labels)
    assert found.parameters - forwards.parameters == 4 * 8 * (8 + 8 + 1) + labels * 8
    assert found.multiply_adds - forwards.multiply_adds == 4 * 8 * (8 + 8) + labels * 8
    assert found.state_bytes is None
    assert "reads the sequence backwards" in found.not_streamable


def test_the_list_has_a_line_for_every_model(capsys):
    assert main(["list"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert set(list_models()) <= set(rows)
    assert rows["speaker-vowels"] == ["classifier", *(f"{n:,}" for n in VOWELS), "yes"]
    # What its other file says of itself.
    found = describe(find_bundle("tagger-en-ewt-stream") / "int8.tflite")
    assert rows["tagger-en-ewt-stream"][2:4] == [
        f"{found['signatures']['step']['multiply_adds']:,}",
        f"{found['state_bytes']:,}",
    ]
    assert rows["tagger-en-ewt"][2:] == [f"{find_costs('tagger-en-ewt').multiply_adds:,}", "-", "yes"]
    assert rows["translate-en-de-cho"][-1] == "no"


def test_a_record_that_is_older_than_its_configuration_is_not_shown(stale, capsys):
    assert find_costs("vowels") is None
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^vowels +classifier +\? +\? +\? +no *$", shown, re.MULTILINE)
    assert "tools/make_costs.py" in shown


@pytest.mark.parametrize("name", list_models())
def test_info_shows_every_model_in_a_narrow_terminal(name, capsys):
    assert main(["info", name]) == 0
    shown = capsys.readouterr().out
    assert f"{find_costs(name).parameters:,} parameters" in shown
    assert max(len(line) for line in shown.splitlines() if line[:1] in "┏┃┡│└") <= 80


@pytest.mark.parametrize("name", ["speaker-vowels", "tagger-en-ewt"])
def test_info_draws_every_layer(name, capsys, tmp_path):
    assert main(["info", name, "--plot", str(tmp_path / "layers.svg")]) == 0
    shown = capsys.readouterr().out
    found = find_costs(name)
    assert f"{found.parameters:,} parameters" in shown
    assert "made by: rnnzoo train" in shown
    # matplotlib writes each text as paths, after a comment that holds it.
    texts = re.findall(r"<!-- (.*) -->", (tmp_path / "layers.svg").read_text(encoding="utf-8"))
    assert {name, "logits", "has weights"} <= set(texts)
    counts = [int(text.split()[0].replace(",", "")) for text in texts if text.endswith(" parameters")]
    assert sum(counts) == found.parameters


def test_a_layer_called_twice_is_two_boxes_and_counted_once(tmp_path):
    x = keras.Input((None, 4), name="rows")
    dense = keras.layers.Dense(4, name="dense")
    y = keras.layers.Add(name="both")([dense(x), dense(dense(x))])
    draw_architecture(keras.Model(x, y), tmp_path / "x.svg", "title", "text")
    text = (tmp_path / "x.svg").read_text(encoding="utf-8")
    for part in ("input  T×4", "Dense  T×4", "dense (3)", "weights of dense", "Add  T×4", "title"):
        assert part in text, part
    assert text.count("<!-- 20 parameters -->") == 1


def test_the_configuration_alone_is_one_to_begin_from(capsys):
    assert main(["info", "speaker-vowels", "--yaml"]) == 0
    text = capsys.readouterr().out
    assert parse_config(text, "it") == load_config(find_config("speaker-vowels"))


def test_mistakes_are_one_line(tmp_path, capsys):
    for arguments, said in (
        (["info", "speaker-vowel"], "speaker-vowels"),
        (["list", "nothing*"], "no model matches 'nothing*'"),
        (["info", "speaker-vowels", "--plot", str(tmp_path / "x.jpg")], ".png, .svg or .pdf"),
        (["info", "speaker-vowels", "--plot", str(tmp_path / "none" / "x.png")], "No such file"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.splitlines()) == 1


def test_the_record_holds_every_model():
    with (layout.root() / costs.RECORD).open(encoding="utf-8", newline="") as file:
        recorded = {row["name"] for row in csv.DictReader(file)}
    assert recorded == set(list_models())
    for name in recorded:
        assert costs._recorded(name)[:3] == find_costs(name)[:3], "run tools/make_costs.py"


@pytest.mark.slow
@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
def test_what_is_recorded_is_measured_again(tmp_path, monkeypatch, capsys):
    tool = load_script("make_costs")
    expected, configs = find_costs("tagger-en-ewt-feedforward"), layout.config_paths()
    monkeypatch.setattr(tool, "recorded_models", lambda: ["tagger-en-ewt-feedforward"])
    monkeypatch.setattr(costs, "record_path", lambda: tmp_path / costs.RECORD)
    monkeypatch.setattr(costs, "config_paths", lambda: configs)
    (tmp_path / "zoo_configs").mkdir()
    assert tool.main([]) == 0
    assert f"wrote {tmp_path / costs.RECORD}" in capsys.readouterr().out
    assert find_costs("tagger-en-ewt-feedforward") == expected
