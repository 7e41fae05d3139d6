"""The guide to a wake word of one's own does what it says: its files are written, its commands and blocks run."""

import json
import re
import shlex
from pathlib import Path

import pytest
from places import DOCS

from rnnzoo.cli import main as rnnzoo
from streaming.cli import main as streaming

GUIDE = DOCS / "wake-word.md"
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_every_block_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("soundfile", reason="soundfile is not installed")
    monkeypatch.chdir(tmp_path)
    namespace, programs = {"__name__": "guide"}, {"rnnzoo": rnnzoo, "streaming": streaming}
    for language, file, text in BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        if file:
            Path(file).write_text(text)
        elif language == "python":
            exec(compile(text, str(GUIDE), "exec"), namespace)
        else:
            for command in text.splitlines():
                program, *arguments = shlex.split(command)
                assert programs[program](arguments) == 0, command
    shown = capsys.readouterr().out
    recall = re.search(r"│ recall *│ *([\d.]+)%", shown)
    assert recall is not None
    # The test split holds ten words or so; who has learned nothing finds none.
    assert float(recall[1]) > 50
    # What was measured is what the file does: its events at its own threshold.
    found = json.loads(Path("evening.json").read_text())
    row = next(row for row in found["thresholds"] if row["threshold"] == found["shipped"])
    ups = [event for event in namespace["heard"] if event.label == "up"]
    assert len(ups) >= round(6 * (1 - row["misses"]))
    assert (tmp_path / "plots" / "det.png").is_file()
