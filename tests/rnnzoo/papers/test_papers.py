"""`rnnzoo paper`: the claims hold in their direction for seconds of training, and the page is what results say."""

import dataclasses
import json

import pytest
from scripts import load_script

from rnnzoo.cli import main
from rnnzoo.errors import ConfigError
from rnnzoo.papers.config import Claim, load_paper
from rnnzoo.papers.run import compared, holds, reaches, read_result, run_paper, unexplained
from rnnzoo.registry.layout import paper_paths, paper_results

# Papers whose tiny form takes longer than the suite allows.
LONG = {"bahdanau-2015", "cho-2014", "orvieto-2023", "sutskever-2014"}
STORED = sorted(path.stem for path in paper_results().glob("*.json"))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in paper_paths()]
)
def test_the_direction_of_the_claims_holds_in_the_tiny_form(name, tmp_path):
    result = run_paper(name, tmp_path, tiny=True, say=lambda _: None)
    verdicts = {claim.text: holds(claim, result["figures"]) for claim in load_paper(name, budgets=False).claims}
    measured = {text: verdict for text, verdict in verdicts.items() if verdict is not None}
    assert measured, "no claim is measured"
    assert all(measured.values()), result["figures"]
    assert json.loads((tmp_path / f"{name}.json").read_text()) == result
    assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


CLAIM = Claim("the gated network has fewer errors", "2 %", "gated", below="plain", at_most=0.02)


@pytest.mark.parametrize(
    ("figures", "direction", "reached"),
    [
        ({"gated": 0.01, "plain": 0.5}, True, True),
        ({"gated": 0.1, "plain": 0.5}, True, False),
        ({"gated": 0.01, "plain": 0.01}, False, False),
        ({"gated": 0.01, "plain": None}, None, None),
        ({"plain": 0.5}, None, None),
    ],
)
def test_a_claim_is_held_against_figures(figures, direction, reached):
    assert (holds(CLAIM, figures), reaches(CLAIM, figures)) == (direction, reached)


def test_a_claim_without_a_direction_is_not_half_reached():
    config = dataclasses.replace(
        load_paper("elman-1990", budgets=False),
        claims=(CLAIM, Claim("all", "1", "right", at_least=1.0, reason="short")),
    )
    rows = list(compared(config, {"gated": 0.1, "plain": 0.5, "right": 0.7}))
    assert [row["reached"] for row in rows] == ["direction only", "no: short"]
    assert [row["ours"] for row in rows] == ["0.1, against 0.5", "0.7"]


def test_the_list_names_every_paper_and_an_unknown_one_the_nearest(capsys):
    assert main(["paper", "--list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in paper_paths())
    assert main(["paper", "elman-1991"]) == 2
    assert capsys.readouterr().err == "rnnzoo: error: no paper is called 'elman-1991'; did you mean 'elman-1990'?\n"
    assert main(["paper"]) == 2
    assert "expected the name of a paper or --list" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("full.unitz=3", "did you mean 'full.units'"),
        ("full.units=none", "expected a whole number"),
        ("full.units=0", "expected at least 1"),
        ("seeds=[]", "at least one seed"),
        ("seeds=[-1]", "expected at least 0"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(override, message):
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as error:
        load_paper("elman-1990", [override])
    assert message in str(error.value)


def tool():
    return load_script("make_papers")


def test_the_page_is_made_of_the_stored_results(capsys):
    assert tool().main(["--check"]) == 0, capsys.readouterr().err


def test_stored_results_are_full_small_and_explained():
    assert STORED
    for name in STORED:
        result = read_result(paper_results() / f"{name}.json")
        assert result["form"] == "full"
        assert result["made"]["commit"]
        config = load_paper(name, budgets=False)
        assert set(result["seeds"]) == set(config.seeds)
        assert len(list(compared(config, result["figures"]))) == len(config.claims)
        for suffix in (".json", ".png"):
            assert (paper_results() / f"{name}{suffix}").stat().st_size < 60_000
    assert unexplained(STORED, paper_results()) == []


def test_the_command_writes_its_files_and_shows_the_papers_figures_beside_ours(tmp_path, capsys):
    assert main(["paper", "graves-2006", "--tiny", "tiny.steps=3", "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "yes" in shown
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["graves-2006.json", "graves-2006.png"]
    made = json.loads((tmp_path / "out" / "graves-2006.json").read_text())["made"]
    assert made["command"] == "rnnzoo paper graves-2006 --tiny tiny.steps=3"
    (tmp_path / "file").write_text("")
    assert main(["paper", "graves-2006", "--tiny", "--out", str(tmp_path / "file")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("said", "text", "errors"), [("", "12", 2), ("12", "12", 0), ("132", "12", 1), ("21", "12", 2), ("923", "123", 1)]
)
def test_label_errors_are_counted_as_edits(said, text, errors):
    from rnnzoo.papers.experiments.graves_2006 import edit_distance

    assert edit_distance(said, text) == errors
