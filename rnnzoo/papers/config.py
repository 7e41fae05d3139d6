"""What a paper claims and how much is spent on it, from `zoo_configs/papers/NAME.yaml`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from rnnzoo.errors import ConfigError
from rnnzoo.papers.experiments import find_experiment
from rnnzoo.registry.names import find_paper
from rnnzoo.runs.config import build_section, read_tree
from rnnzoo.util.ranges import Seed

Unit = Literal["percent", "count", "number"]


@dataclass(frozen=True)
class Claim:
    """One claim of a paper, and the figures that it is held against.

    Args:
        text: the claim.
        published: the paper's own figure and where it stands, in words.
        ours: key of our figure.
        unit: how our figure is written.
        above, below: key of another figure of ours; the direction of the claim.
        at_least, at_most: the paper's figure, where ours should reach it.
        reason: why it is not reached; shown where it is not.
    """

    text: str
    published: str
    ours: str
    unit: Unit = "number"
    above: str | None = None
    below: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class PaperConfig:
    """The configuration of a paper.

    Args:
        name: as the file is called.
        paper: authors, year, title and place.
        url: its page.
        task: what is trained on what, for the page.
        experiment: module of `rnnzoo.papers.experiments`; that of the paper's own name where it is not given.
        seeds: each experiment is run once with each.
        claims: what is reproduced.
        tiny, full: budgets, of the class `Budget` of the experiment.
    """

    name: str
    paper: str
    url: str
    task: str
    seeds: tuple[Seed, ...]
    claims: tuple[Claim, ...]
    tiny: Any
    full: Any
    experiment: str = ""


def load_paper(name: str, overrides: Iterable[str] = (), budgets: bool = True) -> PaperConfig:
    """The configuration of a paper, typed.

    Args:
        name: of the paper, as `rnnzoo paper --list` shows it.
        overrides: `key=value` or `full.key=value`, the value in YAML.
        budgets: read them, too, for which the experiment and Keras are imported.

    Raises:
        ConfigError: the paper, a key or a value is not known.
    """
    path = find_paper(name)
    tree, where, origin = read_tree(path.read_text(encoding="utf-8"), str(path), overrides, "a paper")
    tree["experiment"] = tree.get("experiment") or name.replace("-", "_")
    if budgets:
        budget = find_experiment(tree["experiment"], where).Budget
        for form in ("tiny", "full"):
            tree[form] = build_section(budget, tree.get(form) or {}, where, origin, form)
    config = build_section(PaperConfig, tree, where, origin)
    if not config.seeds or not config.claims:
        raise ConfigError(f"{path}: expected at least one seed and one claim")
    return config
