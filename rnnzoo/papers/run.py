"""Runs the experiment of a paper: figures, table and picture, with what they were made by."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rnnzoo.errors import DataError
from rnnzoo.papers.config import Claim, PaperConfig, load_paper
from rnnzoo.papers.experiments import Findings, Say, find_experiment
from rnnzoo.util.files import write_json

_LIBRARIES = ("tensorflow", "keras", "numpy")


def run_paper(
    name: str, out: Path, *, tiny: bool = False, overrides: Sequence[str] = (), say: Say = print
) -> dict[str, Any]:
    """Train what a paper trained, and write `NAME.json` and `NAME.png`.

    Args:
        name: of the paper.
        out: a folder, made where missing.
        tiny: with the budget of seconds, and the first seed alone.
        overrides: of the configuration, `key=value`.
        say: is given a line on each network that was trained.

    Returns:
        What the JSON file has: figures and series, `made` (command, commit, hardware, versions), seeds and seconds.

    Raises:
        ConfigError: the paper or an override is not known.
        DataError: a data set is missing, or a file cannot be written.
    """
    from rnnzoo.runs.provenance import commit, hardware

    config = load_paper(name, overrides)
    experiment = find_experiment(config.experiment, name)
    seeds = config.seeds[:1] if tiny else config.seeds
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make {out} ({error.strerror}): choose another folder") from error
    made, begin = commit(), time.perf_counter()
    outcome = experiment.run(config.tiny if tiny else config.full, seeds, say)
    seconds = time.perf_counter() - begin
    command = " ".join(["rnnzoo paper", name, *(["--tiny"] if tiny else []), *overrides])
    result: dict[str, Any] = {
        "paper": name,
        "form": "tiny" if tiny else "full",
        "seeds": list(seeds),
        "seconds": round(seconds, 1),
        "made": {
            "command": command,
            "commit": made,
            "hardware": hardware(),
            "versions": {library: version(library) for library in _LIBRARIES},
        },
        "figures": dict(outcome.figures),
        "series": dict(outcome.series),
    }
    write_json(out / f"{name}.json", result)
    experiment.draw(Findings(result["figures"], result["series"]), out / f"{name}.png")
    return result


def read_result(path: Path) -> dict[str, Any]:
    """A stored result.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): make it anew by `rnnzoo paper NAME`") from error
    return result


def holds(claim: Claim, figures: dict[str, Any]) -> bool | None:
    """Whether our figures have the direction of a claim; None where they were not measured."""
    ours = figures.get(claim.ours)
    others = [(figures.get(name), sign) for name, sign in ((claim.above, 1), (claim.below, -1)) if name]
    if ours is None or any(other is None for other, _ in others):
        return None
    return all(sign * (ours - other) > 0 for other, sign in others)


def reaches(claim: Claim, figures: dict[str, Any]) -> bool | None:
    """Whether our figure also is what the paper has; None where it was not measured."""
    ours, direction = figures.get(claim.ours), holds(claim, figures)
    if ours is None or direction is None:
        return None
    least, most = claim.at_least, claim.at_most
    return direction and (least is None or ours >= least) and (most is None or ours <= most)


def compared(config: PaperConfig, figures: dict[str, Any]) -> Iterator[dict[str, str]]:
    """A row for each claim: the paper's figure beside ours, and whether it is reached."""
    for claim in config.claims:
        yield {
            "claim": claim.text,
            "paper": claim.published,
            "ours": _ours(claim, figures),
            "reached": _verdict(claim, figures),
        }


def _ours(claim: Claim, figures: dict[str, Any]) -> str:
    others = [f"against {_written(claim, figures.get(name))}" for name in (claim.above, claim.below) if name]
    return ", ".join([_written(claim, figures.get(claim.ours)), *others])


def _written(claim: Claim, value: float | None) -> str:
    if value is None:
        return "not measured"
    return {"percent": f"{100 * value:.1f} %", "count": f"{value:,.0f}", "number": f"{value:.3g}"}[claim.unit]


def _verdict(claim: Claim, figures: dict[str, Any]) -> str:
    reached, direction = reaches(claim, figures), holds(claim, figures)
    if reached:
        return "yes"
    word = "no figure" if reached is None else "direction only" if direction and (claim.above or claim.below) else "no"
    return f"{word}: {claim.reason}" if claim.reason else word


def unexplained(names: Iterable[str], folder: Path) -> list[str]:
    """Claims of stored results that are not reached and have no reason."""
    missing = []
    for name in names:
        figures = read_result(folder / f"{name}.json")["figures"]
        unsaid = [claim for claim in load_paper(name, budgets=False).claims if not claim.reason]
        missing += [f"{name}: {claim.text}" for claim in unsaid if not reaches(claim, figures)]
    return missing
