"""`rnnzoo train`, `sweep` and `diagnose`, as a user gives them."""

import csv
import json
import os

import pytest
from zoo_runs import write_colours

from rnnzoo.bundles.cards import KINDS
from rnnzoo.cli import main
from rnnzoo.training.demonstration import demonstrate


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    (folder / "colours.yaml").write_text(write_colours(folder / "data"))
    return folder


@pytest.mark.slow
def test_a_sweep_trains_a_grid_and_goes_on(place, capsys):
    out = place / "sweep"
    command = ["sweep", str(place / "colours.yaml"), "model.units=4,8", "training.epochs=1", "--out", str(out)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "1/2  model.units=4" in shown
    assert "epoch 1/1" in shown
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model.units"] for row in rows] == ["4", "8"]
    runs = sorted(path for path in out.iterdir() if path.is_dir())
    for row in rows:
        run = next(path for path in runs if f"units={row['model.units']}_" in path.name)
        metrics = json.loads((run / "metrics.json").read_text())
        assert float(row["accuracy"]) == metrics["dev"]["accuracy"]
        assert {"history.csv", "tensorboard"} <= set(os.listdir(run))
    assert main(command) == 0
    assert "epoch 1/1" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_and_a_configuration_are_diagnosed(place, capsys):
    run = place / "run"
    assert main(["train", str(place / "colours.yaml"), "training.epochs=1", "--out", str(run)]) == 0
    for source, said in ((run, "trained"), (place / "colours.yaml", "fresh weights")):
        assert main(["diagnose", str(source), "--out", str(place / "plots")]) == 0
        shown = capsys.readouterr().out
        assert f"(tagger, {said})" in shown
        assert "recurrent_0: spectral radius of the recurrent matrix: input" in shown
        assert "recurrent_0: saturation: input" in shown
        assert "gradient by layer: largest in" in shown
    assert (place / "plots" / "colours-gradients.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_evaluation_tells_reset_from_never_reset(place, capsys):
    if not (run := place / "run").is_dir():
        assert main(["train", str(place / "colours.yaml"), "training.epochs=1", "--out", str(run)]) == 0
    files = ["--json", str(place / "found.json"), "--csv", str(place / "found.csv"), "--plots", str(place / "plots")]
    assert main(["evaluate", str(run), *files]) == 0
    found = json.loads((place / "found.json").read_text())
    rows = list(csv.DictReader((place / "found.csv").read_text(encoding="utf-8").splitlines()))
    written = {(row["way"], row["figure"]): float(row["value"]) if row["value"] else None for row in rows}
    ways = {key: value for key, value in written.items() if key[0] in KINDS}
    assert ways == {(way, name): value for way in KINDS if way in found for name, value in found[way].items()}
    # And figures of each label, on rows of their own.
    assert set(written) - set(ways)
    assert {row["seed"] for row in rows} == {"1"} == {str(found["made"]["seed"])}
    assert found["made"]["command"] == "rnnzoo evaluate colours --split test"
    assert "cores" in found["made"]["hardware"]
    assert found["made"]["signature"] == ""
    for name in ("learning-curves", "confusion"):
        assert (place / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert {"offline", "float32", "float32_never_reset", "int8", "int8_never_reset"} <= set(found)
    assert found["float32_never_reset"]["count"] == found["offline"]["count"]
    # Whole in a narrow terminal.
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert max(len(line) for line in shown.splitlines() if line[0] in "┏┃┡│└") <= 80
    assert sum(f"{found[key]['accuracy']:.2%}" in shown for key in found if "reset" in key) == 2


@pytest.mark.slow
def test_a_sweep_that_diverges_says_so_below_a_table_that_fits(place, capsys):
    grid = [
        "training.learning_rate=1e-2,1e38",
        "training.clip_norm=null",
        "training.optimizer=sgd",
        "training.epochs=1",
    ]
    assert main(["sweep", str(place / "colours.yaml"), *grid, "--out", str(place / "wild")]) == 0
    shown = capsys.readouterr().out
    table, _, rest = shown[shown.index("learning rate") :].partition("learning_rate=1e38: the loss became")
    assert [line.split()[0] for line in table.splitlines()[1:]] == ["1e-2", "1e38"]
    assert max(map(len, table.splitlines())) <= 80
    assert "Lower training.learning_rate" in rest
    assert "null" not in table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["diagnose", "runs/none"], "cannot read runs/none (No such file or directory)"),
        (["sweep", "{yaml}"], "expected settings to sweep over"),
        (["sweep", "{yaml}", "model.units"], "expected key=value,value"),
        (["sweep", "{yaml}", "model.unit=1,2"], "model.units"),
        (["sweep", "{yaml}", "model.units=1,2", "model.units=3"], "comes twice"),
        (["diagnose"], "expected a run, a configuration or --demonstration"),
        (["diagnose", "{yaml}", "--demonstration"], "one of them"),
        (["train", "{yaml}", "--strategy", "magic"], "expected one of mirrored, multiworker"),
        (["train", "{yaml}", "training.clip_value=1"], "training.clip_value=1.0 and training.clip_norm=5.0 contradict"),
    ],
)
def test_mistakes_are_one_line(arguments, said, place, capsys):
    assert main([one.format(yaml=place / "colours.yaml") for one in arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


@pytest.mark.slow
def test_the_demonstration_shows_what_it_says(tmp_path):
    found = demonstrate(tmp_path)
    assert all(plot.read_bytes().startswith(b"\x89PNG") for plot in found.plots)
    ratios = [float(line.split("gradient is ")[1].split()[0]) for line in found.findings[:3]]
    assert ratios[0] < 1e-3 < 0.1 < ratios[1] < 10 < ratios[2]
    learned = ["vanilla, radius 0.8, regularized", "vanilla, radius 1.5, clipped", "LSTM"]
    assert found.findings[-2:] == [
        f"learned: {'; '.join(learned)}",
        "not learned: vanilla, radius 0.8; vanilla, radius 1.5, not clipped",
    ]
