"""The guide to models of one's own does what it says: its files are written, its commands and blocks run."""

import re
import shlex
from pathlib import Path

import pytest
from places import DOCS

from rnnzoo.cli import main as rnnzoo
from streaming.cli import main as streaming

BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_blocks(guide):
    """Files are written, commands and Python run, in their order; what is `text` is shown only."""
    namespace, programs = {"__name__": "guide"}, {"rnnzoo": rnnzoo, "streaming": streaming}
    for language, file, text in BLOCK.findall(guide.read_text(encoding="utf-8")):
        if file:
            Path(file).write_text(text)
        elif language == "python":
            exec(compile(text, str(guide), "exec"), namespace)
        elif language == "sh":
            for command in text.splitlines():
                program, *arguments = shlex.split(command)
                assert programs[program](arguments) == 0, command


@pytest.mark.slow
def test_every_block_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_blocks(DOCS / "own-models.md")
    shown = capsys.readouterr().out
    # Who knows no more than the place of a word is right three times in four.
    offline = re.search(r"accuracy *│ *([\d.]+)%", shown)
    assert offline is not None
    assert float(offline[1]) > 90


@pytest.mark.slow
def test_every_block_of_tables_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_blocks(DOCS / "own-tables.md")
    shown = capsys.readouterr().out
    for said in ("Druck, Wärme", "Station (text)", '"time": "2026-01-01 00:00:00", "columns": ["Wärme"]', "person (3)"):
        assert said in shown
    assert "1 and 3 of 3" in shown
    assert re.search(r"walk +1?\d\d\.\d+%", shown)


def test_what_is_not_registered_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("name: a\ntopology: tagger\ndata: {dataset: nowhere}\nmodel: {cell: mgu2}\n")
    assert rnnzoo(["train", "a.yaml"]) == 2
    assert "received 'mgu2'. For a cell of your own" in capsys.readouterr().err
    assert rnnzoo(["train", "a.yaml", "--import", "absent.py"]) == 2
    assert "--import absent.py: expected a Python file" in capsys.readouterr().err
