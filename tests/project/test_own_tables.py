"""From tables of one's own to a device: what is trained on a file runs on every form of it, with the same figures."""

import io
import json
import sys

import numpy as np
import pytest
from awkward_tables import NAMES, forms, table, text

import streaming
from rnnzoo.cli import main as rnnzoo
from rnnzoo.errors import ConfigError
from rnnzoo.runs.building import load_task
from rnnzoo.runs.config import parse_config
from rnnzoo.runs.experiment import evaluate_run, figures_csv
from rnnzoo.runs.store import load_run
from streaming.cli import main as on_device

FORECASTER = """
name: own
topology: forecaster
data: {dataset: "series:DATA", context: 6, horizon: 2, window: 12, season: 4}
model: {cell: min_gru, units: 3, dropout: 0.0}
training: {epochs: 1, batch_size: 16}
"""
VALUES = table(200)
VALUES.setflags(write=False)


def trained(folder, config, data, *options):
    """A run in a folder of its own."""
    (folder / "own.yaml").write_text(config.replace("DATA", str(data)))
    run = folder / f"run-{data.name}"
    assert rnnzoo(["train", str(folder / "own.yaml"), "--out", str(run), *options]) == 0
    return run


def streamed(capsys, model, path, *options, stdin=None, monkeypatch=None):
    """Exit code, parsed lines and standard error of `streaming run`."""
    capsys.readouterr()
    if stdin is not None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    code = on_device(["run", str(model), str(path), *options])
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory):
    """A folder with the forms of a table, the run that was trained on the first, and its file."""
    folder = tmp_path_factory.mktemp("forecaster")
    for name, content in forms(VALUES).items():
        (folder / name).write_bytes(content)
    run = trained(folder, FORECASTER, folder / "plain.csv")
    assert rnnzoo(["export", str(run), str(folder / "own.tflite")]) == 0
    return folder, run, folder / "own.tflite"


def test_permuted_columns_change_nothing_anywhere(forecaster, capsys):
    folder, run, model = forecaster
    other = trained(folder, FORECASTER, folder / "german-permuted.csv")
    for name in ("weights.safetensors", "rows.json", "series.json", "history.csv"):
        first, second = ((path / name).read_bytes() for path in (run, other))
        assert first == second or name == "history.csv", name
    metrics = [json.loads((path / "metrics.json").read_text()) for path in (run, other)]
    assert metrics[0]["dev"] == metrics[1]["dev"]
    assert rnnzoo(["export", str(other), str(folder / "other.tflite")]) == 0
    expected = streamed(capsys, model, folder / "plain.csv")
    assert (expected[0], len(expected[1]), expected[2]) == (0, len(VALUES), "")
    assert streamed(capsys, folder / "other.tflite", folder / "permuted.csv") == expected
    assert expected[1][0]["columns"] == list(NAMES)
    assert [item["line"] for item in expected[1]] == list(range(2, len(VALUES) + 2))


@pytest.mark.parametrize("name", forms(VALUES))
def test_the_device_reads_what_training_reads(forecaster, capsys, name):
    folder, _, model = forecaster
    code, found, err = streamed(capsys, model, folder / name)
    assert (code, err) == (0, "")
    expected = [event.values for event in streaming.pipeline(model).run([VALUES])]
    np.testing.assert_allclose([item["values"] for item in found], expected, atol=1e-5)


def test_figures_of_the_device_are_those_of_evaluation(forecaster, capsys):
    """What `streaming run` prints of the file gives the figures that `rnnzoo evaluate` prints."""
    folder, run, model = forecaster
    figures = evaluate_run(load_run(run), "test", files={"float32": model})
    # As evaluation does, from the first row on that the first forecast of the split looks back on.
    (folder / "part.tsv").write_text(text(VALUES[154:], sep="\t", decimal=","))
    _, found, _ = streamed(capsys, model, folder / "part.tsv")
    ahead = np.array([item["values"] for item in found])[5:44]
    true = np.stack([VALUES[t + 1 : t + 3] for t in range(159, 198)])
    scale = VALUES[:120].std(axis=0)
    assert figures["float32"]["mse"] == pytest.approx(np.mean(((ahead - true) / scale) ** 2), rel=1e-4)
    assert figures["offline"]["count"] == len(true)
    # Another form of the file under an old run changes nothing either.
    (folder / "plain.csv").write_bytes(forms(VALUES)["german-permuted.csv"])
    assert evaluate_run(load_run(run), "test", files={"float32": model})["offline"] == figures["offline"]
    (folder / "plain.csv").write_bytes(forms(VALUES)["plain.csv"])


def test_rows_by_name_in_python(forecaster):
    task = streaming.pipeline(forecaster[2])
    expected = task.forecast(VALUES[:20]).values
    columns = {name: VALUES[:20, i] for i, name in enumerate(NAMES)}
    np.testing.assert_array_equal(task.forecast(dict(reversed(columns.items())) | {"more": None}).values, expected)
    with pytest.raises(streaming.InputError, match="no column x10; did you mean 'x1'"):
        task.forecast({"x1": [1.0], "x2": [2.0]})


def test_bad_rows_are_reported_and_skipped(forecaster, capsys, monkeypatch):
    _, _, model = forecaster
    lines = text(VALUES[:9]).splitlines()
    good = "\n".join(lines).encode()
    bad = "\n".join([*lines[:4], "1,2", "1,x,3", *lines[4:7], ",1,2", '"', *lines[7:]]).encode()
    code, found, err = streamed(capsys, model, "-", stdin=bad, monkeypatch=monkeypatch)
    assert (code, len(found)) == (2, 3)
    assert "line 5 is '1,2': 2 columns" in err
    code, found, err = streamed(
        capsys, model, "-", "--skip-bad-rows", stdin=bad.replace(b'"\n', b""), monkeypatch=monkeypatch
    )
    assert code == 0
    expected = streamed(capsys, model, "-", stdin=good, monkeypatch=monkeypatch)[1]
    assert [item["values"] for item in found] == [item["values"] for item in expected]
    assert [item["line"] for item in found] == [2, 3, 4, 7, 8, 9, 11, 12, 13]
    assert [line for line in err.splitlines() if "line" in line] == [
        "streaming: left out: line 5 is '1,2': 2 columns, expected 3 numbers with commas or a JSON array of 3 "
        "(x1, x2, x10)",
        "streaming: left out: line 6 is '1,x,3': no numbers ('x' is no number), expected 3 numbers with commas or a "
        "JSON array of 3 (x1, x2, x10)",
        "streaming: left out: line 10: no value in column x1; fill it, or train with data.missing=hold",
    ]
    assert err.splitlines()[-1] == "streaming: note: 3 rows were left out"
    code, _, err = streamed(capsys, model, "-", stdin=b'x1,x2\n"\n1,2', monkeypatch=monkeypatch)
    assert code == 2
    assert "line 1 names the columns x1, x2, expected x1, x2, x10 among them; x10 is missing; did you mean" in err


CLASSIFIER = """
name: own
topology: classifier
data: {dataset: "rows:DATA", input: rows}
model: {cell: min_gru, units: 6, dropout: 0.0}
training: {epochs: 6, batch_size: 8, learning_rate: 0.05}
"""


def walks(label, person, seed, rows=60):
    """A sensor at uneven times with gaps, whose level says the label."""
    rng = np.random.default_rng(seed)
    values = rng.normal([{"walk": -1, "run": 1}[label], 5], 0.3, (rows, 2))
    values[rng.random(values.shape) < 0.1] = np.nan
    times = np.cumsum(rng.uniform(0.4, 0.6, rows))
    lines = ["who;t;load;heat;note"]
    for t, (heat, load) in zip(times, values, strict=True):
        cells = ["" if np.isnan(value) else f"{value:.3f}".replace(".", ",") for value in (load, heat)]
        lines.append(f"{person};{f'{t:.2f}'.replace('.', ',')};{';'.join(cells)};x")
    return "\n".join(lines) + "\n"


@pytest.mark.slow
def test_recordings_with_gaps_in_windows(tmp_path, capsys):
    for split, count in (("train", 6), ("dev", 2), ("test", 2)):
        for label in ("walk", "run"):
            folder = tmp_path / "data" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.csv").write_text(walks(label, "me", 100 * i + len(split + label)))
    (tmp_path / "data" / "train" / "run" / "notes.md").write_text("not a table")
    options = ["data.time=t", "data.resample=1s", "data.missing=interpolate", "data.mask=true"]
    run = trained(tmp_path, CLASSIFIER, tmp_path / "data", *options, "data.window=8", "data.hop=4")
    shown = capsys.readouterr().out
    for said in ("heat, load, heat_missing, load_missing", "note (text)", "files of another kind", "labels in train"):
        assert said in shown
    loaded = load_run(run)
    figures = evaluate_run(loaded, "test")
    assert figures["float32"]["accuracy"] == figures["offline"]["accuracy"] > 0.9
    assert figures["classes"]["walk"]["f1"] > 0.9
    assert "float32_never_reset" not in figures
    # Each file on the device gives what evaluation gave of its windows.
    model = tmp_path / "own.tflite"
    assert rnnzoo(["export", str(run), str(model)]) == 0
    task = streaming.pipeline(model)
    assert (task.model.window, task.model.hop, task.spec.time) == (8, 4, "t")
    examples = load_task(loaded.config, loaded.encoder).examples("test")
    found = []
    for path in sorted((tmp_path / "data" / "test").glob("*/*.csv")):
        code, events, _ = streamed(capsys, model, path)
        assert code == 0
        assert all(float(event["time"]).is_integer() for event in events)
        found += [(path.parent.name, event["label"], event["score"]) for event in events]
    expected = [(label, *task.classify(rows)[:2]) for rows, label in examples]
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    np.testing.assert_allclose([row[2] for row in found], [row[2] for row in expected], atol=1e-5)


TAGGER = """
name: own
topology: sequence_tagger
data: {dataset: "DATASET", label: what, window: 20}
model: {cell: min_gru, units: 8, frame_units: 8, dropout: 0.0}
training: {epochs: 12, batch_size: 4, learning_rate: 0.03}
"""


def test_a_label_for_each_row(tmp_path, capsys):
    rng = np.random.default_rng(0)
    level = np.repeat(rng.integers(0, 2, 120), 10)
    rows = [
        f"{v:.3f}\t{'' if i % 7 == 3 else ['low', 'high'][k]}"
        for i, (v, k) in enumerate(zip(level + rng.normal(0, 0.2, len(level)), level, strict=True))
    ]
    path = tmp_path / "own.tsv"
    path.write_text("\n".join(["x\twhat", *rows]))
    run = trained(tmp_path, TAGGER.replace("DATASET", f"tagged:{path}"), path)
    figures = evaluate_run(load_run(run), "test")
    assert figures["offline"]["accuracy"] > 0.9
    assert [figures["float32"][k] for k in figures["offline"]] == list(figures["offline"].values())
    assert figures["offline"]["count"] == sum(bool(row.split("\t")[1]) for row in rows[1080:])
    assert set(figures["classes"]) == {"low", "high"}
    assert rnnzoo(["export", str(run), str(tmp_path / "own.tflite")]) == 0
    code, found, err = streamed(capsys, tmp_path / "own.tflite", path)
    assert (code, len(found), err) == (0, 1200, "")
    right = [item["tag"] == row.split("\t")[1] for item, row in zip(found, rows, strict=True) if row.split("\t")[1]]
    assert np.mean(right) > 0.9


@pytest.mark.slow
def test_events_in_a_signal(tmp_path):
    rng = np.random.default_rng(0)
    at = np.arange(30, 2380, 40) + rng.integers(0, 8, 59)
    signal = rng.normal(0, 0.05, (2400, 1))
    cells = np.full(2400, "", object)
    for k, place in enumerate(at):
        signal[place : place + 4] += [3, -3][k % 2]
        cells[place] = ["up", "down"][k % 2]
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["x,what", *(f"{x:.3f},{cell}" for (x,), cell in zip(signal, cells, strict=True))]))
    config = TAGGER.replace("DATASET", f"events:{path}").replace("window: 20", "sample_rate: 100, frame: 4, window: 10")
    with pytest.raises(ConfigError, match=r"data\.sample_rate is missing"):
        load_task(parse_config(config.replace("sample_rate: 100, ", ""), "own"))
    run = trained(tmp_path, config, path)
    figures = evaluate_run(load_run(run), "test")
    assert figures["float32"]["f1"] == figures["offline"]["f1"]
    assert figures["offline"]["count"] == np.count_nonzero(cells[2160:])


DETECTOR = """
name: own
topology: anomaly_detector
data: {dataset: "anomalies:DATA", context: 6, window: 24, probation: 60, long_window: 60, warm_up: 20}
model: {cell: min_gru, units: 4, dropout: 0.0}
training: {epochs: 2, batch_size: 4}
"""


@pytest.mark.slow
def test_anomalies_in_series_of_ones_own(tmp_path, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    for k in range(2):
        values = table(500, seed=k)[:, :2]
        values[400:404] += 6
        lines = [f"{a},{b},{'yes' if 400 <= t < 404 else 'no'}" for t, (a, b) in enumerate(values)]
        (folder / f"{k}.csv").write_text("\n".join(["a,b,odd", *lines]))
    run = trained(tmp_path, DETECTOR, folder, "data.label=odd")
    assert "anomalies" in capsys.readouterr().out
    figures = evaluate_run(load_run(run), "test")
    assert figures["offline"]["nab_score"] > 50
    assert figures["float32"]["nab_score"] == pytest.approx(figures["offline"]["nab_score"], abs=1)
    # Without a column of labels there is no score, and what there is to be said is said.
    task = load_task(parse_config(DETECTOR.replace('DATA"', f'{folder}", columns: [a, b]'), "own"))
    assert set(task.evaluate(load_run(run).model, "test")) == {"mse", "alarms_per_1000_rows", "count"}
    assert task.baseline("test").name == "last value"


@pytest.mark.slow
def test_texts_with_several_labels_in_a_spreadsheet(tmp_path, capsys):
    rng = np.random.default_rng(0)
    words = {"heat": ["hot", "warm"], "noise": ["loud", "shrill"]}
    lines = ["Meldung;Themen"]
    for i in range(240):
        held = [label for label in words if rng.random() < 0.5]
        said = " ".join(["it is", *(str(rng.choice(words[label])) for label in held), f"; {i % 9}"])
        lines.append(f'"{said}";{"|".join(held)}')
    path = tmp_path / "own.csv"
    path.write_bytes("\r\n".join(lines).encode("utf-16"))
    config = """
name: own
topology: classifier
data: {dataset: "csv:DATA", text: Meldung, label: Themen, multi_label: true}
model: {cell: min_gru, units: 8, word_size: 8, dropout: 0.0}
training: {epochs: 6, batch_size: 16, learning_rate: 0.03}
"""
    run = trained(tmp_path, config, path)
    shown = capsys.readouterr().out
    assert "labels in train" in shown
    figures = evaluate_run(load_run(run), "test")
    assert figures["float32"]["macro_f1"] == figures["offline"]["macro_f1"] > 0.9
    assert set(figures["classes"]) == set(words)
    by_hand = np.mean([row["f1"] for row in figures["classes"].values()])
    assert figures["offline"]["macro_f1"] == pytest.approx(by_hand)
    assert "heat offline,recall," in figures_csv(figures)
