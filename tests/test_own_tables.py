"""From tables of one's own to a device: what is trained on a file runs on every form of it, with the same figures."""

import io
import json
import sys

import numpy as np
import pytest
from awkward_tables import NAMES, forms, table, text

import streaming
from rnnzoo.cli import main as rnnzoo
from rnnzoo.runs.experiment import evaluate_run
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
