"""What `rnnzoo list` and `rnnzoo info` print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rnnzoo.bundles.cards import figure
from rnnzoo.cli.show import print_figures
from rnnzoo.errors import ConfigError
from rnnzoo.registry.layout import bundle_paths
from rnnzoo.registry.names import find_config, list_models
from rnnzoo.runs.config import dump_config, load_config
from rnnzoo.runs.costs import RECORD, STREAMED, Costs, find_costs
from rnnzoo.runs.store import WEIGHTS_FILE, read_metrics

_LEGEND = "multiply-adds of a step, and bytes of state of a stream; - : reads the sequence whole, and does not stream"
_STALE = f"?: the configuration is newer than {RECORD}; python tools/make_costs.py"


def print_models(names: list[str], pattern: str) -> None:
    """A line for each model.

    Raises:
        ConfigError: there are none.
    """
    if not names:
        known = ", ".join(list_models()) or "none: work in a clone of the repository"
        raise ConfigError(f"no model matches {pattern!r}; known: {known}")
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("name", "topology"):
        table.add_column(title)
    for title in ("parameters", "mult-adds", "state"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("weights")
    found = {name: find_costs(name) for name in names}
    for name, costs in found.items():
        trained = "yes" if name in bundle_paths() else "no"
        table.add_row(name, load_config(find_config(name)).topology, *_cells(costs), trained)
    Console(highlight=False).print(table)
    print(_LEGEND)
    if None in found.values():
        print(_STALE)


def _cells(costs: Costs | None) -> list[str]:
    if costs is None:
        return ["?"] * 3
    return ["-" if value is None else f"{value:,}" for value in costs[:3]]


def print_info(name: str, plot: Path | None = None) -> None:
    """The configuration of a model, what it costs, its layers as they stream, and of a pretrained one its figures.

    Args:
        name: of the zoo.
        plot: where to draw its layers, a .png, .svg or .pdf.

    Raises:
        ConfigError: there is no such model.
        DataError: its layers are to be drawn, and hang on data that cannot be found.
        InputError: the picture cannot be drawn there.
    """
    from streaming.inspection import describe

    print_config(name)
    bundle, costs = bundle_paths().get(name), find_costs(name)
    print()
    if costs:
        print(_said(costs))
    if bundle and (bundle / STREAMED).is_file():
        _print_layers(describe(bundle / STREAMED))
    if bundle is None:
        print(f"weights: none (train it: rnnzoo train {name})")
    else:
        _print_bundle(bundle)
    if plot:
        _draw(name, plot, costs)
        print(f"wrote {plot}")


def print_config(name: str) -> None:
    """The configuration of a model with every default, as YAML."""
    bundle = bundle_paths().get(name)
    print(dump_config(load_config(bundle / "config.yaml" if bundle else find_config(name))), end="")


def _said(costs: Costs) -> str:
    text = f"{costs.parameters:,} parameters"
    if costs.multiply_adds is not None:
        text += f", {costs.multiply_adds:,} multiply-adds a step"
    if costs.not_streamable:
        return f"{text}, does not stream\n{costs.not_streamable}"
    return f"{text}, {costs.state_bytes:,} bytes of state a stream"


def _print_layers(found: dict[str, Any]) -> None:
    """What each layer of a streaming file is, and what an invoke of each signature takes."""
    layers = Table(title="layers, as they stream", box=None, pad_edge=False, title_justify="left")
    for title in ("layer", "kind", "a step's output", "rate", "delay", "states"):
        layers.add_column(title, overflow="fold")
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


def _states(states: dict[str, list[int]]) -> str:
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in states.items())


def _print_bundle(bundle: Path) -> None:
    size = (bundle / WEIGHTS_FILE).stat().st_size
    print(f"weights: {bundle / WEIGHTS_FILE} ({size / 1e6:.2f} MB)")
    metrics = read_metrics(bundle)
    if dev := metrics.get("dev"):
        chosen = ", ".join(f"{key.replace('_', ' ')} {figure(key, dev[key])}" for key in dev if key != "count")
        print(f"figures on dev: {chosen}; on test:")
    if test := metrics.get("test"):
        print_figures(test)
    if made := metrics.get("made"):
        print(f"made by: {made['command']}, commit {made['commit'][:12]}")


def _draw(name: str, plot: Path, costs: Costs | None) -> None:
    from rnnzoo.runs.architecture import draw_architecture
    from rnnzoo.runs.building import create_model

    text = "" if costs is None else _said(costs).splitlines()[0]
    draw_architecture(create_model(name, {}), plot, name, text)
