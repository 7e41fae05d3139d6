"""The guides do what they say: every Python block runs, in order, and every command of theirs exits with 0."""

import re
import shlex
from pathlib import Path

import pytest
from places import DOCS

from streaming.cli import main

GUIDES = ("streaming-guide.md", "windows.md", "custom-layers.md", "tasks.md", "adopt.md")
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "custom-layers.md" else name for name in GUIDES]
)
def test_every_block_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("steps.csv").write_text("\n".join([",".join(["0.5"] * 20)] * 4))
    Path("rows.csv").write_text("load,heat\n380,21\n395,21.5\n")
    text = (DOCS / name).read_text(encoding="utf-8")
    namespace = {"__name__": "guide"}
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) >= 5
    for block in blocks:
        language, code = block.groups()
        if language == "python":
            line = text.count("\n", 0, block.start(2))
            exec(compile("\n" * line + code, str(DOCS / name), "exec"), namespace)
            continue
        for command in code.splitlines():
            program, *arguments = shlex.split(command)
            assert program == "streaming"
            assert main(arguments) == 0, command


@pytest.mark.parametrize("name", GUIDES)
def test_links_lead_somewhere(name):
    text = (DOCS / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (DOCS / target).exists(), target
