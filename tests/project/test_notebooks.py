"""The notebooks run from top to bottom in an empty folder, and their links lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from places import DOCS

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def cells(path: Path, kind: str) -> list[str]:
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RNNZOO_URL", "RNNZOO_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "path",
    [path if path.stem == "first-stream" else pytest.param(path, marks=pytest.mark.slow) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_every_cell_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace = {"__name__": "__main__"}
    for number, code in enumerate(cells(path, "code")):
        exec(compile(code, f"{path.name}, code cell {number}", "exec"), namespace)
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere_and_no_output_is_stored(path: Path) -> None:
    text = "\n".join(cells(path, "markdown"))
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert targets
    assert [target for target in targets if not (path.parent / target).is_file()] == []
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    assert not any(cell.get("outputs") for cell in found["cells"])
