"""The ledger of evaluations on test splits: each evaluation of a model of the zoo is recorded, by its weights.

A test split that is evaluated often becomes part of the model selection. Each line is one trained model at one setting,
such as a threshold; measuring the same again adds no line.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rnnzoo.registry import layout
from rnnzoo.runs.config import ExperimentConfig, dump_config
from rnnzoo.util.files import write_text

LEDGER = "zoo_configs/looks.csv"


@dataclass(frozen=True)
class Look:
    """A measurement on the test split of a data set.

    date: of the day; name: of the model; weights, config: the first 12 hex digits of their SHA-256; commit: of the
    code that measured; figures: offline ones, as `name=value` with spaces between.
    """

    date: str
    name: str
    dataset: str
    weights: str
    config: str
    commit: str
    figures: str


def read_looks(name: str | None = None) -> list[Look]:
    """All looks in order, or those of one model."""
    path = layout.root() / LEDGER
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        looks = [Look(**{key: row[key] for key in _COLUMNS}) for row in csv.DictReader(file)]
    return [look for look in looks if name in (None, look.name)]


def record_look(config: ExperimentConfig, weights: str, evaluation: Mapping[str, Any]) -> Path | None:
    """Add a look to the ledger of the clone that this code runs from, unless RNNZOO_LEDGER=off.

    Args:
        config: of the run.
        weights: SHA-256 of its weights.
        evaluation: the result of `evaluate_run`.

    Returns:
        The ledger, None where nothing was added: another split, no model of the zoo, no clone, or what it has: the same
        weights with the same figures to 1 %.
    """
    known = config.name in layout.config_paths() and (layout.root() / ".git").exists()
    known, looks = known and os.environ.get("RNNZOO_LEDGER") != "off", read_looks()
    figures = {
        key: value for key, value in evaluation["offline"].items() if key != "count" and isinstance(value, int | float)
    }
    if not known or evaluation["split"] != "test" or any(_has(look, weights, figures) for look in looks):
        return None
    look = Look(
        datetime.date.today().isoformat(),
        config.name,
        evaluation["dataset"],
        weights[:12],
        hashlib.sha256(dump_config(config).encode()).hexdigest()[:12],
        (evaluation["made"]["commit"] or "unknown")[:12],
        " ".join(f"{key}={value:.6g}" for key, value in figures.items()),
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(item) for item in [*looks, look])
    path = layout.root() / LEDGER
    write_text(path, text.getvalue())
    return path


def _has(look: Look, weights: str, figures: Mapping[str, float]) -> bool:
    """Whether a look is at these weights, with the figures that both have alike."""
    seen = {key: float(value) for key, value in (item.split("=") for item in look.figures.split())}
    both = [(seen[key], value) for key, value in figures.items() if key in seen]
    return look.weights == weights[:12] and all(math.isclose(*pair, rel_tol=0.01, abs_tol=1e-3) for pair in both)


_COLUMNS = [item.name for item in fields(Look)]
