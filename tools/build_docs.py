#!/usr/bin/env python3
"""Build the documentation as a site: notebooks, guides, reference from the docstrings, cards of the zoo (`make docs`).

    python tools/build_docs.py            # writes build/site; open build/site/index.html
    python tools/build_docs.py --pages    # writes the Markdown pages alone, which needs no generator

The site reads from its own folder alone: no fonts, scripts or pictures come from elsewhere. Its search needs a server,
such as `python -m http.server --directory build/site`.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "site"
ADDRESS = re.compile(r"(?:https?|mailto):|#")
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")

# Page -> the file that it is made from. The guides of `docs` and the cards come on their own.
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
}
# In the order of the menu.
GUIDES = ("streaming-guide", "windows", "tasks", "keras-io", "adopt", "server", "custom-layers", "layers", "training")
GUIDES = (*GUIDES, "own-models", "own-tables", "fine-tuning", "format", "browser", "mobile", "devices")
GUIDES = (*GUIDES, "zoo", "results", "applications", "gallery", "papers")
NOTEBOOKS = ("first-stream", "sensor-data", "fine-tuning")
# Title -> what the reference shows, from the docstrings.
REFERENCE = {
    "streaming": ("streaming",),
    "streaming: tasks": ("streaming.runtime.tasks", "streaming.runtime.tasks.schema"),
    "streaming: files": ("streaming.inspection", "streaming.runtime.metadata", "streaming.runtime.facts"),
    "streaming: text, audio, decoding": (
        "streaming.runtime.text",
        "streaming.runtime.audio",
        "streaming.runtime.decoding",
    ),
    "streaming: Beam": ("streaming.beam",),
    "rnnzoo": ("rnnzoo",),
    "rnnzoo: layers": ("rnnzoo.layers",),
    "rnnzoo: data": ("rnnzoo.data", "rnnzoo.data.config"),
    "rnnzoo: tasks": ("rnnzoo.tasks.base", "rnnzoo.tasks.batches", "rnnzoo.tasks.objective", "rnnzoo.tasks.evaluation"),
    "rnnzoo: training": ("rnnzoo.training.config", "rnnzoo.training.diagnostics"),
}


def sources() -> dict[str, Path]:
    """Every page of the site by its path, and the file that it is made from."""
    pages = {page: ROOT / name for page, name in PAGES.items()}
    pages |= {f"guides/{path.name}": path for path in sorted((ROOT / "docs").glob("*.md"))}
    pages |= {f"notebooks/{path.stem}.md": path for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))}
    return pages | {f"zoo/{path.parent.name}.md": path for path in sorted((ROOT / "pretrained").glob("*/card.md"))}


def write_pages(folder: Path) -> list[str]:
    """Write all pages as Markdown, links between files as links between pages; returns what the reference shows."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = sources()
    places = {path: page for page, path in pages.items()}
    for page, path in pages.items():
        _write(folder / page, _linked(path, page, places, folder))
    for title, modules in REFERENCE.items():
        _write(
            folder / reference_page(title), "\n".join([f"# {title}", *(f"\n::: {module}" for module in modules), ""])
        )
    rows = [
        f"- [{path.parent.name}]({page.removeprefix('zoo/')})" for page, path in pages.items() if page[:4] == "zoo/"
    ]
    _write(folder / "zoo" / "index.md", "\n".join(["# The cards of the zoo", "", *rows, ""]))
    return [module for modules in REFERENCE.values() for module in modules]


def reference_page(title: str) -> str:
    """The page of an entry of `REFERENCE`."""
    return f"reference/{re.sub(r'[^a-z]+', '-', title.lower())}.md"


def _linked(path: Path, page: str, places: dict[Path, str], folder: Path) -> str:
    """The text of a file whose links lead from its page to the pages of others; pictures are copied."""

    def link(match: re.Match[str]) -> str:
        label, target = match.groups()
        if ADDRESS.match(target):
            return match[0]
        name, mark, anchor = target.partition("#")
        aim = (path.parent / name).resolve()
        if aim in places:
            return f"{label}({_relative(places[aim], page)}{mark}{anchor})"
        if aim.suffix in (".png", ".svg"):
            _write(folder / "pictures" / aim.name, aim.read_bytes())
            return f"{label}({_relative(f'pictures/{aim.name}', page)})"
        # Files and folders of the repository that are no page.
        return label.strip("![]") if label.startswith("[`") else f"{label[1:-1]} (`{aim.relative_to(ROOT)}`)"

    return LINK.sub(link, _text(path))


def _text(path: Path) -> str:
    """A file as Markdown; of a notebook, its code as blocks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    where = f"A notebook: `{path.relative_to(ROOT)}`."
    return "\n\n".join(
        [*(source if kind == "markdown" else f"```python\n{source}\n```" for kind, source in cells), where]
    )


def _relative(page: str, of: str) -> str:
    return "../" * of.count("/") + page


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def settings(pages: Path, out: Path) -> dict[str, Any]:
    """The configuration of the generator, MkDocs with its Material theme."""
    known = [f"guides/{name}.md" for name in GUIDES]
    guides = [*known, *sorted(page for page in sources() if page.startswith("guides/") and page not in known)]
    cards = [{Path(page).stem: page} for page in sources() if page.startswith("zoo/")]
    docstrings = {
        "docstring_style": "google",
        "show_source": False,
        "show_root_heading": True,
        "show_if_no_docstring": False,
        "show_signature_annotations": True,
        "members_order": "source",
        "heading_level": 2,
    }
    return {
        "site_name": "rnnzoo and streaming",
        "docs_dir": str(pages),
        "site_dir": str(out),
        "use_directory_urls": False,
        "theme": {"name": "material", "font": False, "features": ["navigation.indexes", "content.code.copy"]},
        "plugins": [
            "search",
            {"mkdocstrings": {"handlers": {"python": {"paths": [str(ROOT)], "options": docstrings}}}},
        ],
        "markdown_extensions": ["tables", "admonition", "pymdownx.superfences", "pymdownx.highlight"],
        "nav": [
            {"Begin": "index.md"},
            {"Notebooks": [f"notebooks/{name}.md" for name in NOTEBOOKS]},
            {"Guides": guides},
            {"Zoo": ["zoo/index.md", *cards]},
            {"Reference": [{title: reference_page(title)} for title in REFERENCE]},
            {"Project": [page for page in PAGES if page != "index.md"]},
        ],
    }


def build(out: Path) -> None:
    """Write the site; ends the program where the generator is missing or finds a mistake."""
    pages = out.parent / "pages"
    write_pages(pages)
    config = out.parent / "mkdocs.yml"
    config.write_text(yaml.safe_dump(settings(pages, out), sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", str(config)]
    # Its theme would say at each call what comes after it.
    done = subprocess.run(command, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    if done.returncode:
        sys.exit("build_docs: the site was not built; the generator is in the extra `docs`: pip install -e '.[docs]'")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the site (%(default)s)")
    parser.add_argument("--pages", action="store_true", help="write the Markdown pages alone")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    if arguments.pages:
        write_pages(out)
        print(f"wrote {out}: {len(sources())} pages")
    else:
        build(out)
        print(f"wrote {out}/index.html")


if __name__ == "__main__":
    main()
