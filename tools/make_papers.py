#!/usr/bin/env python3
"""Write docs/papers.md from the stored results of `rnnzoo paper`, docs/papers/NAME.json; nothing is trained.

`--check` only compares. A new result comes from `rnnzoo paper NAME --out docs/papers`.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence

from rnnzoo.errors import RnnzooError
from rnnzoo.papers.config import load_paper
from rnnzoo.papers.run import compared, read_result
from rnnzoo.registry.layout import paper_paths, paper_results, root

PAGE = "docs/papers.md"
HEAD = """# Papers

Each of these papers is trained again by one command, on data that it makes itself or that TensorFlow Datasets prepares:

    rnnzoo paper --list
    rnnzoo paper NAME              # minutes on one core; NAME.json and NAME.png go to papers/
    rnnzoo paper NAME --tiny       # seconds, to see the direction of the claims

The tables set the paper's figure beside ours. Every figure of ours is from a stored result (`docs/papers/NAME.json`,
with seeds, commit, hardware and versions); `python tools/make_papers.py` wrote this page from them. Configurations are
in `zoo_configs/papers`; `rnnzoo paper NAME seeds=[4] full.units=64` changes one. *Direction only* means that the claim
holds and the paper's own figure is not reached.
"""
OVERVIEW = """The problems of long memory, from the results of the papers above that share them: the share of
right answers on new sequences and, where it reached 97 %, the batches of 32 that this took. All networks have
64 units and were given as many batches; the papers train far longer."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    arguments = parser.parse_args(argv)
    path = root() / PAGE
    try:
        text = page()
    except RnnzooError as error:
        print(f"make_papers: error: {error}", file=sys.stderr)
        return 2
    if arguments.check:
        same = path.is_file() and path.read_text(encoding="utf-8") == text
        if not same:
            print(f"{PAGE} differs from the stored results: run tools/make_papers.py", file=sys.stderr)
        return 0 if same else 1
    path.write_text(text, encoding="utf-8", newline="\n")
    print(f"wrote {path}")
    return 0


def page() -> str:
    """The page of all papers that have a stored result, by year."""
    names = sorted(paper_paths(), key=lambda name: (re.sub(r"\D", "", name) or "9999", name))
    stored = [name for name in names if (paper_results() / f"{name}.json").is_file()]
    lines = [line for name in stored for line in section(name)]
    return "\n".join([HEAD, *lines, *overview(stored), *missing([name for name in names if name not in stored])])


def section(name: str) -> Iterator[str]:
    """The lines of a paper."""
    config, result = load_paper(name, budgets=False), read_result(paper_results() / f"{name}.json")
    if result["form"] != "full":
        raise RnnzooError(f"{name}.json holds the form {result['form']!r}: run `rnnzoo paper {name} --out docs/papers`")
    yield from (f"## {name}", "", f"[{config.paper}]({config.url}).", "", config.task.strip(), "")
    yield from table(compared(config, result["figures"]))
    yield from ("", f"![{name}](papers/{name}.png)", "")
    made = result["made"]
    versions = ", ".join(f"{library} {number}" for library, number in made["versions"].items())
    seeds = ", ".join(map(str, result["seeds"]))
    commit = (made["commit"] or "unknown")[:12]
    seconds = f"{result['seconds']:,.0f} s"
    # A training that papers share is run once; where it was, the seconds are without it.
    kept = [f"`{model}` (commit {of[:12]})" for model, of in result["series"].get("kept", {}).items()]
    beside = f"; trained before and kept: {', '.join(kept)}" if kept else ""
    yield f"`{made['command']}`: {seconds}, seeds {seeds}, commit {commit}, {made['hardware']}, {versions}{beside}."
    yield ""


def missing(names: Sequence[str]) -> Iterator[str]:
    """The papers that have no stored result."""
    if names:
        yield from ("## Without a stored result", "")
        yield "Their configurations and tiny forms are there; the full form has not been run and stored yet:"
        yield f"{', '.join(f'`{name}`' for name in names)}."
        yield ""


def overview(names: Sequence[str]) -> Iterator[str]:
    """Who solves what, from the papers that share the experiment on long memory."""
    kinds: list[str] = []
    rows: dict[str, dict[str, str]] = {}
    for name in names:
        if load_paper(name, budgets=False).experiment != "long_memory":
            continue
        series = read_result(paper_results() / f"{name}.json")["series"]
        kinds += [kind for kind in series["kinds"] if series["problems"] and kind not in kinds]
        for problem, shares, updates in zip(series["problems"], series["shares"], series["updates"], strict=True):
            for kind, share, count in zip(series["kinds"], shares, updates, strict=True):
                cell = f"{100 * share:.0f} %" + (f" ({count:.0f})" if count else "")
                rows.setdefault(problem, {}).setdefault(kind, cell)
    if not rows:
        return
    yield from ("## Who solves what", "", OVERVIEW, "")
    yield f"| problem | {' | '.join(kinds)} |"
    yield f"| --- |{' ---: |' * len(kinds)}"
    for problem, cells in rows.items():
        yield f"| {problem.replace('_', ', ')} | {' | '.join(cells.get(kind, '') for kind in kinds)} |"
    yield ""


def table(rows: Iterator[Mapping[str, str]]) -> Iterator[str]:
    """Rows as Markdown."""
    yield "| claim | the paper | ours | reached |"
    yield "| --- | --- | --- | --- |"
    for row in rows:
        yield f"| {' | '.join(row.values())} |"


if __name__ == "__main__":
    sys.exit(main())
