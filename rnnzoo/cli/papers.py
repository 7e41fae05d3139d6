"""Output of `rnnzoo paper`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rnnzoo.papers.config import load_paper
from rnnzoo.papers.run import compared, reaches
from rnnzoo.registry.layout import paper_paths


def print_papers() -> None:
    """A line for each paper: its name, what it is, and how many claims are reproduced."""
    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("claims", justify="right")
    table.add_column("paper", overflow="fold")
    for name in paper_paths():
        config = load_paper(name, budgets=False)
        table.add_row(name, str(len(config.claims)), config.paper)
    Console(highlight=False, markup=False).print(table)


def print_comparison(result: dict[str, Any], out: Path) -> None:
    """The paper's figures beside ours, of what was measured, and the files that were written."""
    config = load_paper(result["paper"], budgets=False)
    table = Table()
    for title in ("claim", "paper", "ours", "reached"):
        table.add_column(title, overflow="fold")
    for claim, row in zip(config.claims, compared(config, result["figures"]), strict=True):
        if reaches(claim, result["figures"]) is not None:
            table.add_row(*row.values())
    Console(highlight=False, markup=False).print(table)
    print(f"{result['seconds']:.0f} s on {result['made']['hardware']}")
    for suffix in (".json", ".png"):
        print(f"wrote {out / (result['paper'] + suffix)}")
