"""The documentation as a site: every page leads somewhere, and nothing is fetched when it is read."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path
from typing import Any

import pytest
from places import ROOT
from scripts import load_script


@pytest.fixture(scope="module")
def tool() -> Any:
    return load_script("build_docs")


@pytest.fixture(scope="module")
def pages(tool: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("docs") / "pages"
    tool.write_pages(folder)
    return folder


def anchors(text: str) -> set[str]:
    """Of the headings of a page, as the generator makes them."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", head.lower())).strip("-") for head in heads}


def test_every_link_leads_to_a_page_that_is_there(pages: Path) -> None:
    wrong, checked = [], 0
    for page in pages.rglob("*.md"):
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
            name, _, anchor = target.partition("#")
            aim = (page.parent / name).resolve() if name else page
            checked += 1
            if not aim.is_file() or (anchor and anchor not in anchors(aim.read_text(encoding="utf-8"))):
                wrong.append(f"{page.relative_to(pages)}: {target}")
    assert not wrong
    assert checked > 50


def test_guides_cards_and_reference_are_in_it(tool: Any, pages: Path) -> None:
    for path in (ROOT / "docs").glob("*.md"):
        assert (pages / "guides" / path.name).is_file()
    for path in (ROOT / "pretrained").glob("*/card.md"):
        assert (pages / "zoo" / f"{path.parent.name}.md").is_file()
    for modules in tool.REFERENCE.values():
        for name in modules:
            parts = ROOT.joinpath(*name.split("."))
            assert parts.with_suffix(".py").is_file() or (parts / "__init__.py").is_file(), name
    listed = [f"guides/{name}.md" for name in tool.GUIDES] + [f"notebooks/{name}.md" for name in tool.NOTEBOOKS]
    assert not [page for page in listed if not (pages / page).is_file()]


class Fetched(html.parser.HTMLParser):
    """Addresses that a browser reads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") in ("canonical", "prev", "next"):
            return
        for name in {"link": ("href",), "a": ()}.get(tag, ("src", "href", "data", "poster")):
            if given.get(name):
                self.found.append(str(given[name]))


def test_the_site_is_whole_and_reads_from_its_own_folder(tool: Any, tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra `docs` is not installed")
    tool.build(tmp_path / "site")
    # A server shows its page of errors at any address, so that page alone counts from the root.
    made = [page for page in (tmp_path / "site").rglob("*.html") if page.name != "404.html"]
    assert len(made) > len(tool.sources())
    for page in made:
        parser = Fetched()
        parser.feed(page.read_text(encoding="utf-8"))
        for target in parser.found:
            assert not re.match(r"(https?:)?//", target), f"{page}: {target}"
            name = target.partition("#")[0].partition("?")[0]
            assert not name or name.startswith("data:") or (page.parent / name).exists(), f"{page}: {target}"
    layers = (tmp_path / "site" / "reference" / "rnnzoo-layers.html").read_text(encoding="utf-8")
    assert "hand-derived backward pass" in layers
    assert 'id="rnnzoo.layers.LSTM"' in layers
    assert 'id="streaming.convert"' in (tmp_path / "site" / "reference" / "streaming.html").read_text(encoding="utf-8")
