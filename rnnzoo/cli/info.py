"""Output of `rnnzoo list` and `rnnzoo info`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rnnzoo.bundles.cards import figure
from rnnzoo.cli.show import print_figures
from rnnzoo.errors import ConfigError
from rnnzoo.registry.layout import CONFIG_FILE, bundle_paths, listed_bundles, listed_licences
from rnnzoo.registry.names import config_path, find_config, list_models
from rnnzoo.runs.config import dump_config, load_config
from rnnzoo.runs.costs import RECORD, STREAMED, Costs, find_costs
from rnnzoo.runs.store import WEIGHTS_FILE, check_run, count_parameters, read_metrics
from rnnzoo.util.licences import restriction

_LEGEND = "multiply-adds of a step, and bytes of state of a stream; - : reads the sequence whole, and does not stream"
_STALE = f"?: the configuration is newer than {RECORD}; python tools/make_costs.py"


def print_models(names: list[str], pattern: str, licence: str | None = None) -> None:
    """Print a line for each model; with its licence if models were selected by licence.

    Raises:
        ConfigError: there are none.
    """
    if not names and licence is not None and list_models(pattern):
        known = ", ".join(sorted(set(listed_licences().values())))
        raise ConfigError(f"no weights of {pattern!r} are under {licence!r}; there are {known}")
    if not names:
        known = ", ".join(list_models()) or "none"
        raise ConfigError(f"no model matches {pattern!r}; known: {known}")
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("topology")
    for title in ("parameters", "mult-adds", "state"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("weights")
    if licence is not None:
        table.add_column("licence")
    costs_by_name = {name: find_costs(name) for name in names}
    for name, costs in costs_by_name.items():
        table.add_row(
            name,
            load_config(find_config(name)).topology,
            *_cells(costs),
            _weights(name),
            *([listed_licences()[name]] if licence else []),
        )
    Console(highlight=False).print(table)
    print(_LEGEND)
    if None in costs_by_name.values():
        print(_STALE)


def _weights(name: str) -> str:
    """Whether there are trained weights, here or elsewhere."""
    return "yes" if name in bundle_paths() else "download" if name in listed_bundles() else "no"


def _cells(costs: Costs | None) -> list[str]:
    if costs is None:
        return ["?"] * 3
    return ["-" if value is None else f"{value:,}" for value in costs[:3]]


def print_info(source: str, plot: Path | None = None) -> None:
    """Print the configuration of a model, its costs, its layers as they stream and, if trained, its figures.

    Args:
        source: a name of the zoo, the folder of a run, or a YAML file of an experiment.
        plot: where to draw its layers, a .png, .svg or .pdf.

    Raises:
        ConfigError: there is no such model.
        DataError: its layers are to be drawn and depend on data that cannot be found.
        InputError: the picture cannot be drawn there.
    """
    from streaming.inspection import describe

    print_config(source)
    run = run_folder(source)
    costs = Costs(count_parameters(run)) if Path(source).is_dir() and run else find_costs(source)
    print()
    if costs:
        print(_said(costs))
    if run and (run / STREAMED).is_file():
        _print_layers(describe(run / STREAMED))
    if run:
        _print_bundle(run)
    elif source in listed_bundles():
        print(f"weights: not here (rnnzoo download {source})")
    else:
        print(f"weights: none (train it: rnnzoo train {source})")
    if source in (licences := listed_licences()):
        held = restriction(licences[source])
        print(f"licence of the weights: {licences[source]}{f', {held}' if held else ''}")
    if plot:
        _draw(source, plot, costs)
        print(f"wrote {plot}")


def print_config(source: str) -> None:
    """The configuration of a model with every default, as YAML; `source` as `print_info` takes it."""
    run = run_folder(source)
    print(dump_config(load_config(run / CONFIG_FILE if run else config_path(source))), end="")


def run_folder(source: str) -> Path | None:
    """The folder of a run, or of a bundle by its name; None where the model has no weights here."""
    if Path(source).is_dir():
        check_run(Path(source))
        return Path(source)
    return bundle_paths().get(source)


def _said(costs: Costs) -> str:
    text = f"{costs.parameters:,} parameters"
    if costs.multiply_adds is None and costs.state_bytes is None and not costs.not_streamable:
        return text
    if costs.multiply_adds is not None:
        text += f", {costs.multiply_adds:,} multiply-adds a step"
    if costs.not_streamable:
        return f"{text}, does not stream\n{costs.not_streamable}"
    return f"{text}, {costs.state_bytes:,} bytes of state a stream"


def _print_layers(description: dict[str, Any]) -> None:
    """Tables of a streaming file: its layers, and the cost of an invoke of each signature."""
    layers = Table(title="layers, as they stream", box=None, pad_edge=False, title_justify="left")
    for title in ("layer", "kind", "a step's output", "rate", "delay", "states"):
        layers.add_column(title, overflow="fold")
    for row in description["plan"]:
        shape = " x ".join(map(str, row["shape"])) or "1"
        rate = "once" if row["encoded"] else str(row["rate"])
        layers.add_row(row["name"], row["kind"], shape, rate, str(row["delay"]), _states(row["states"]))
    costs = Table(title="costs", box=None, pad_edge=False, title_justify="left")
    for title in ("signature", "streams", "steps", "multiply-adds", "MB of weights", "operations"):
        costs.add_column(title, justify="left" if title == "signature" else "right")
    for name, row in description["signatures"].items():
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
        # An installed package knows no commit.
        commit = f", commit {made['commit'][:12]}" if made.get("commit") else ""
        print(f"made by: {made['command']}{commit}")


def _draw(source: str, plot: Path, costs: Costs | None) -> None:
    from rnnzoo.runs.architecture import draw_architecture
    from rnnzoo.runs.building import build_model, load_task
    from rnnzoo.runs.store import read_encoder

    run = run_folder(source)
    config = load_config(run / CONFIG_FILE if run else config_path(source))
    encoder = read_encoder(run, config) if run else load_task(config).encoder
    text = "" if costs is None else _said(costs).splitlines()[0]
    draw_architecture(build_model(config, encoder), plot, config.name, text)
