"""What commands print: small tables."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.table import Table

from rnnzoo.config import dump_config, load_config
from rnnzoo.registry import bundle_paths, find_config, list_models

_LABELS = {
    "offline": "offline (Keras)",
    "float32": "streamed float32",
    "float32_never_reset": "  never reset",
    "int8": "streamed int8",
    "int8_never_reset": "  never reset",
}
_COUNTS = ("count",)
# Ends of the names of figures that are shares.
_SHARES = ("accuracy", "recall", "precision", "f1", "error_rate")
_FILE = ("size_bytes", "delay", "max_abs_error")


def print_evaluation(found: dict[str, Any]) -> None:
    """The figures that `evaluate_run` returns."""
    metrics = [name for name in found["offline"] if name not in _COUNTS]
    count = int(found["offline"]["count"])
    print(f"{found['name']} on {found['dataset']}, split {found['split']}, {count:,} decisions")
    table = Table()
    table.add_column("")
    for name in (*metrics, "MB", "delay", "max error"):
        table.add_column(name.replace("_", " "), justify="right")
    for key, label in _LABELS.items():
        if row := found.get(key):
            table.add_row(label, *(figure(name, row[name]) for name in metrics), *_file_figures(row))
    Console(highlight=False).print(table)
    if "not_streamable" in found:
        print(f"not streamed: {found['not_streamable']}")


def print_sweep(rows: list[dict[str, Any]], out: Any) -> None:
    """The rows that `run_sweep` returns, best first."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table()
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(_cell(name, row.get(name, "")) for name in names))
    Console(highlight=False).print(table)
    print(f"saved {out}: a run for each line, and results.csv")


def _cell(name: str, value: Any) -> str:
    return figure(name, value) if isinstance(value, float) else str(value)


def figure(name: str, value: float) -> str:
    """A figure as people write it: shares in per cent, others with four digits."""
    if math.isnan(value):
        return "-"
    return f"{value:.2%}" if name.endswith(_SHARES) else f"{value:.4g}"


def _file_figures(row: dict[str, Any]) -> tuple[str, str, str]:
    if "size_bytes" not in row:
        return "", "", ""
    return f"{row['size_bytes'] / 1e6:.2f}", str(row["delay"]), f"{row['max_abs_error']:.1e}"


def print_models(names: list[str], pattern: str) -> None:
    """A line for each model."""
    from rnnzoo.errors import ConfigError

    if not names:
        known = ", ".join(list_models()) or "none: work in a clone of the repository"
        raise ConfigError(f"no model matches {pattern!r}; known: {known}")
    table = Table(box=None, pad_edge=False)
    for title in ("name", "topology", "data", "weights"):
        table.add_column(title)
    for name in names:
        config = load_config(find_config(name))
        table.add_row(name, config.topology, config.data.dataset, "yes" if name in bundle_paths() else "no")
    Console(highlight=False).print(table)


def print_info(name: str) -> None:
    """The configuration of a model, and of a pretrained one its size and metrics."""
    import json

    from rnnzoo.runs import METRICS_FILE, WEIGHTS_FILE, count_parameters

    bundle = bundle_paths().get(name)
    config = load_config(bundle / "config.yaml" if bundle else find_config(name))
    print(dump_config(config), end="")
    if bundle is None:
        print("weights: none (train it: rnnzoo train " + name + ")")
        return
    size = (bundle / WEIGHTS_FILE).stat().st_size
    print(f"weights: {bundle / WEIGHTS_FILE} ({size / 1e6:.2f} MB)")
    print(f"parameters: {count_parameters(bundle):,}")
    if (bundle / METRICS_FILE).is_file():
        metrics = json.loads((bundle / METRICS_FILE).read_text(encoding="utf-8"))
        metrics.pop("history", None)
        print(f"metrics: {json.dumps(metrics)}")
