"""What commands print: small tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rnnzoo.config import dump_config, load_config
from rnnzoo.registry import bundle_paths, find_config, list_models

_LABELS = {
    "offline": "offline (Keras)",
    "float32": "streamed float32",
    "float32_never_reset": "float32, never reset",
    "int8": "streamed int8",
    "int8_never_reset": "int8, never reset",
}
_COUNTS = ("count",)
# Ends of the names of figures that are shares.
_SHARES = ("accuracy", "recall", "precision", "f1", "error_rate")
_FILE = ("size_bytes", "delay", "max_abs_error")


def print_evaluation(found: dict[str, Any]) -> None:
    """The figures that `evaluate_run` returns."""
    count = int(found["offline"]["count"])
    print(f"{found['name']} on {found['dataset']}, split {found['split']}, {count:,} decisions")
    # A column for each way to run it: there are at most five, and any number of figures.
    kinds = {key: label for key, label in _LABELS.items() if key in found}
    table = Table()
    table.add_column("")
    for label in kinds.values():
        table.add_column(label, justify="right")
    for name in found["offline"]:
        if name not in _COUNTS:
            table.add_row(name.replace("_", " "), *(figure(name, found[key][name]) for key in kinds))
    for place, name in enumerate(("MB", "delay", "max error")):
        table.add_row(name, *(_file_figures(found[key])[place] for key in kinds))
    Console(highlight=False).print(table)
    if "not_streamable" in found:
        print(f"not streamed: {found['not_streamable']}")


def print_sweep(rows: list[dict[str, Any]], out: Any) -> None:
    """The rows that `run_sweep` returns, best first."""
    print_rows(rows)
    print(f"saved {out}: a run for each line, and results.csv")


def print_rows(rows: list[dict[str, Any]]) -> None:
    """A table with a line for each row, and a column for each key."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=None, pad_edge=False)
    widest = max(len(str(row[names[0]])) for row in rows)
    for place, name in enumerate(names):
        options: Any = {"justify": "right"} if place else {"min_width": min(24, widest), "overflow": "fold"}
        table.add_column(name.replace("_", " "), **options)
    for row in rows:
        table.add_row(*(_cell(name, row.get(name)) for name in names))
    Console(highlight=False).print(table)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return figure(name, value)
    return f"{value:,}" if isinstance(value, int) else str(value)


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


def print_costs(path: Path) -> None:
    """What each layer of a streaming file is, and what an invoke of each signature takes."""
    from streaming.inspection import describe

    if not path.is_file():
        return
    found = describe(path)
    layers = Table(title="layers, as they stream", box=None, pad_edge=False, title_justify="left")
    for title in ("layer", "kind", "a step's output", "rate", "delay", "states"):
        layers.add_column(title)
    for row in found["plan"]:
        shape = " x ".join(map(str, row["shape"])) or "1"
        layers.add_row(row["name"], row["kind"], shape, str(row["rate"]), str(row["delay"]), _states(row["states"]))
    costs = Table(title="costs", box=None, pad_edge=False, title_justify="left")
    for title in ("signature", "streams", "steps", "multiply-adds", "MB of weights", "operations"):
        costs.add_column(title, justify="left" if title == "signature" else "right")
    for name, row in found["signatures"].items():
        size, count = f"{row['weight_bytes'] / 1e6:.2f}", str(sum(row["operations"].values()))
        streams, steps = (str(row.get(key, "-")) for key in ("batch", "chunk"))
        costs.add_row(name, streams, steps, f"{row['multiply_adds']:,}", size, count)
    for table in (layers, costs):
        Console(highlight=False).print(table)
    print(f"state of a stream: {found['state_bytes']:,} bytes")


def _states(states: dict[str, list[int]]) -> str:
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in states.items())


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
    print_costs(bundle / "float32.tflite")
    if (bundle / METRICS_FILE).is_file():
        metrics = json.loads((bundle / METRICS_FILE).read_text(encoding="utf-8"))
        metrics.pop("history", None)
        print(f"metrics: {json.dumps(metrics)}")
