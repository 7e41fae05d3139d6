"""Reproductions: results of a bundle's training command at later commits, on the development split."""

from __future__ import annotations

import csv
import datetime
import io
from dataclasses import asdict, dataclass, fields

from rnnzoo.errors import ConfigError
from rnnzoo.hub.manifest import hash_file
from rnnzoo.registry import layout
from rnnzoo.registry.layout import bundle_paths
from rnnzoo.runs.provenance import commit
from rnnzoo.runs.store import WEIGHTS_FILE, Run
from rnnzoo.util.files import write_text

REPRODUCTIONS = "zoo_configs/reproductions.csv"


@dataclass(frozen=True)
class Reproduction:
    """A training that was run again.

    date: of the day; name: of the model; bundle: the first 12 hex digits of the SHA-256 of the weights that it is
    compared with; commit: of the code that trained; figure, found: the name of the first figure on the development
    split, and its value there.
    """

    date: str
    name: str
    bundle: str
    commit: str
    figure: str
    found: float


def read_reproductions() -> list[Reproduction]:
    """All reproductions in order; none if there is no such file."""
    path = layout.root() / REPRODUCTIONS
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Reproduction(**{**row, "found": float(row["found"])}) for row in csv.DictReader(file)]  # type: ignore[arg-type]


def note_reproduction(run: Run) -> Reproduction:
    """Note the result of a run of a bundle's command.

    Raises:
        ConfigError: there is no bundle of that name, the configuration or the seed differs, or the run has no figures.
    """
    from rnnzoo.runs.config import dump_config, load_config

    name, dev = run.config.name, run.metrics.get("dev") or {}
    if name not in bundle_paths():
        raise ConfigError(f"{name} has no bundle to compare with; note runs of {', '.join(sorted(bundle_paths()))}")
    folder = bundle_paths()[name]
    if dump_config(run.config) != dump_config(load_config(folder / layout.CONFIG_FILE)):
        raise ConfigError(f"{run.path} has another configuration than {folder}; train by the command of its card")
    if not dev:
        raise ConfigError(f"{run.path} has no figures of the development split; train it to its end")
    figure = next(iter(dev))
    made = (run.metrics.get("made") or {}).get("commit") or commit() or "unknown"
    bundle = hash_file(folder / WEIGHTS_FILE)[:12]
    noted = Reproduction(datetime.date.today().isoformat(), name, bundle, made[:12], figure, float(dev[figure]))
    text = io.StringIO()
    writer = csv.DictWriter(text, [item.name for item in fields(Reproduction)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(row), "found": f"{row.found:.6g}"} for row in [*read_reproductions(), noted])
    write_text(layout.root() / REPRODUCTIONS, text.getvalue())
    return noted
