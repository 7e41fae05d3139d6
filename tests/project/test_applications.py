"""docs/applications.md: every application names a model that is there, with the figures of the zoo's tables."""

import pytest
from places import ROOT
from scripts import load_script

import rnnzoo


@pytest.fixture(scope="module")
def tool():
    return load_script("make_applications")


def test_the_page_has_the_models_and_figures_of_the_zoo(tool):
    rows = tool.read("applications.csv")
    models = set(rnnzoo.list_models(pretrained=True))
    assert {row["model"] for row in rows} <= models
    page = (ROOT / tool.PAGE).read_text(encoding="utf-8")
    assert tool.with_table(page, tool.table()) == page
    assert all(f"| {row['application']} |" in page for row in rows)


def test_what_is_missing_is_one_line(tool, monkeypatch, capsys):
    assert tool.main(["--measure", "no-model"]) == 2
    assert "no bundle is called 'no-model'; known: " in capsys.readouterr().err
    row = {"field": "x", "application": "flying", "model": "speaker-vowels", "metric": "height"}
    monkeypatch.setattr(tool, "read", lambda name: [row] if name == "applications.csv" else [])
    assert tool.main([]) == 2
    assert "'flying': no bundle 'speaker-vowels' with a figure 'height'" in capsys.readouterr().err
