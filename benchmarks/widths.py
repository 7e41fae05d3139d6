"""One training step of a recurrent layer at many widths: each form of this project's loop, Keras, Keras + XLA, PyTorch.

A step is forward and backward, 50 steps of time, the loss the mean of the squared outputs. `graph` runs the loop in
TensorFlow's executor, `xla` compiles it; `-2` runs the halves of the batch at once. From these times follows the
table by which the layers choose their form, `rnnzoo/layers/recurrent/forms.csv`; this command writes it. A ratio is the
time of the form that the table gives by that of the fastest peer. Bidirectional layers take the forms of the layer
inside.

The times are kept in `benchmarks/widths.csv`, and a run goes on where the last one stopped; the load that the results
name is that of the last run alone. A time is the least of its rounds, since other work on the machine can only add to
it; where the spread is large, there was such work, and a ratio within some percent of 1 decides nothing. Options:
`--quick`: a few cells, nothing is written; `--seconds=N`: stop after N seconds; `--anew`: forget the times.
"""

from __future__ import annotations

import csv
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.results import picture_folder
from benchmarks.timing import microseconds
from rnnzoo.layers.recurrent.forms import FIELDS, FORMS, PLAIN, TABLE, choose, read

STEPS, CORES, ROUNDS, SECONDS = 50, 2, 5, 0.015
FILE = Path(__file__).with_suffix(".csv")
PEERS = ("Keras", "Keras + XLA", "PyTorch")
TORCH = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN", "Bidirectional": "LSTM"}
# Halves make a graph larger, and XLA compiles for each shape: a form has to save this share of the time to be chosen.
WORTH = 0.05


@dataclass(frozen=True)
class Cell:
    """What is trained; `last`: the layer returns its last output only."""

    layer: str
    units: int
    batch: int
    masked: bool = False
    inputs: int = 64
    last: bool = False

    @property
    def title(self) -> str:
        """In a line of the table."""
        more = f"{', masked' if self.masked else ''}{', last' if self.last else ''}"
        return f"{self.layer}-{self.units}, {self.batch} x {self.inputs}{more}"


def _grid() -> Iterable[Cell]:
    for layer in ("LSTM", "GRU"):
        yield from (Cell(layer, units, batch) for units in (16, 64, 256) for batch in (1, 32))
        yield from (Cell(layer, units, 256) for units in (64, 256))
        yield from (Cell(layer, units, 32, masked=True) for units in (16, 64, 256))
        yield from (Cell(layer, 64, 32, inputs=inputs) for inputs in (8, 512))
        yield Cell(layer, 512, 32)
    yield from (Cell("LSTM", 1024, batch) for batch in (1, 32))
    yield from (Cell("LSTM", 64, batch, masked=True) for batch in (1, 256))
    yield from (Cell("LSTM", 64, 32, last=True), Cell("LSTM", 256, 32, True, 8, True))
    yield from (Cell("SimpleRNN", 64, batch) for batch in (1, 32, 256))
    yield from (Cell("SimpleRNN", 256, 32), Cell("SimpleRNN", 64, 32, masked=True))
    yield from (Cell("LayerNormLSTM", 64, 32), Cell("LayerNormLSTM", 256, 32))
    yield from (Cell("Bidirectional", 64, 32), Cell("Bidirectional", 256, 32))


CELLS = tuple(_grid())
QUICK = (Cell("LSTM", 64, 32), Cell("LSTM", 512, 32), Cell("GRU", 64, 32), Cell("GRU", 64, 32, masked=True))


@dataclass(frozen=True)
class Time:
    """Milliseconds of a step, the spread as a share, and the processor's seconds until the first step is done."""

    cell: Cell
    name: str
    milliseconds: float
    spread: float
    first: float


def main(*options: str) -> None:
    """Measure the cells that are not in the file, write the table, and print all of them."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(CORES)
    tf.config.threading.set_inter_op_parallelism_threads(CORES)
    if "--quick" in options:
        report([time for cell in QUICK for time in measure(cell)])
        return
    if "--anew" in options:
        FILE.unlink(missing_ok=True)
    limit = min(
        (float(option.split("=")[1]) for option in options if option.startswith("--seconds=")), default=math.inf
    )
    times, begin = load(), time.perf_counter()
    missing = [cell for cell in CELLS if cell not in {each.cell for each in times}]
    while missing and time.perf_counter() - begin < limit:
        times += measure(missing.pop(0))
        save(times)
    if missing:
        print(f"{len(missing)} of {len(CELLS)} cells are left; run the command again")
        return
    write_table(times)
    report(times)
    if folder := picture_folder():
        draw(times, folder / "widths.png")


def measure(cell: Cell) -> list[Time]:
    """The times of all contestants, in turn."""
    return clock(cell, *build(cell))


def build(cell: Cell) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """A training step of each contestant, which has run once, and the seconds of processor time until then."""
    calls, first = {}, {}
    for name, make in contestants(cell).items():
        begin = time.process_time()
        try:
            calls[name] = make()
        except ImportError:  # PyTorch is not installed.
            continue
        first[name] = time.process_time() - begin
    return calls, first


def clock(cell: Cell, calls: dict[str, Callable[[], Any]], first: dict[str, float]) -> list[Time]:
    """The times of what `build` made."""
    times = microseconds(calls, ROUNDS, SECONDS, min)
    return [Time(cell, name, times[name] / 1e3, times.spread[name], first[name]) for name in calls]


def contestants(cell: Cell) -> dict[str, Callable[[], Callable[[], Any]]]:
    """What builds a training step and runs it once, for each form and each peer."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(cell.batch, STEPS, cell.inputs)).astype("float32")
    mask = np.arange(STEPS) < generator.integers(STEPS // 2, STEPS + 1, (cell.batch, 1)) if cell.masked else None
    # A compiled loop over the whole batch is measured where there are no halves: elsewhere it was not faster.
    forms = {name: form for name, form in FORMS.items() if form == PLAIN or (form.parts > 1) == (cell.batch > 1)}
    builders = {name: partial(tensorflow_step, ours(cell), x, mask, False, form) for name, form in forms.items()}
    builders["Keras"] = partial(tensorflow_step, theirs(cell), x, mask, False)
    builders["Keras + XLA"] = partial(tensorflow_step, theirs(cell), x, mask, True)
    if not cell.masked and cell.layer in TORCH:  # PyTorch knows no mask: its packed sequences are another input.
        builders["PyTorch"] = partial(torch_step, cell, x)
    return builders


def ours(cell: Cell) -> Any:
    """The layer of this project."""
    import rnnzoo.layers

    if cell.layer == "Bidirectional":
        inner = rnnzoo.layers.LSTM(cell.units, return_sequences=not cell.last)
        return rnnzoo.layers.Bidirectional(inner)
    return getattr(rnnzoo.layers, cell.layer)(cell.units, return_sequences=not cell.last)


def theirs(cell: Cell) -> Any:
    """The layer of Keras."""
    import keras

    import rnnzoo.layers

    if cell.layer == "Bidirectional":
        return keras.layers.Bidirectional(keras.layers.LSTM(cell.units, return_sequences=not cell.last))
    if cell.layer == "LayerNormLSTM":
        return keras.layers.RNN(rnnzoo.layers.LayerNormLSTMCell(cell.units), return_sequences=not cell.last)
    return getattr(keras.layers, cell.layer)(cell.units, return_sequences=not cell.last)


def tensorflow_step(layer: Any, x: np.ndarray, mask: Any, jit: bool, form: Any = None) -> Callable[[], Any]:
    """Loss and gradients of a layer, which runs its loop in a form if one is given."""
    import tensorflow as tf

    from rnnzoo.layers.recurrent import tensorflow_layer

    layer.build(x.shape)
    weights = [variable.value for variable in layer.trainable_weights]
    mask = None if mask is None else tf.constant(mask)

    @tf.function(jit_compile=jit, autograph=False)
    def step(x: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(layer(x, mask=mask, training=True)))
        return loss, tape.gradient(loss, weights)

    inputs = tf.constant(x)
    # The form is read while the first call builds the graph.
    with mock.patch.object(tensorflow_layer, "find_form", return_value=form):
        step(inputs)
    return lambda: step(inputs)[0].numpy()


def torch_step(cell: Cell, x: np.ndarray) -> Callable[[], Any]:
    """The same in PyTorch."""
    import torch

    torch.set_num_threads(CORES)
    both = cell.layer == "Bidirectional"
    layer = getattr(torch.nn, TORCH[cell.layer])(cell.inputs, cell.units, batch_first=True, bidirectional=both)
    inputs = torch.from_numpy(x)

    def step() -> float:
        layer.zero_grad()
        outputs = layer(inputs)[0]
        loss = (outputs[:, -1] if cell.last else outputs).square().mean()
        loss.backward()
        return loss.item()

    step()
    return step


def load() -> list[Time]:
    """The times in the file."""
    if not FILE.exists():
        return []
    with FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    times = []
    for row in rows:
        cell = Cell(
            row["layer"],
            int(row["units"]),
            int(row["batch"]),
            row["masked"] == "yes",
            int(row["inputs"]),
            row["last"] == "yes",
        )
        times.append(Time(cell, row["name"], *(float(row[name]) for name in ("milliseconds", "spread", "first"))))
    return times


def save(times: Sequence[Time]) -> None:
    """Write all times to the file."""
    names = [field.name for field in (*fields(Cell), *fields(Time)[1:])]
    rows = [(*astuple(each.cell), each.name, each.milliseconds, each.spread, each.first) for each in times]
    _write(FILE, names, rows)


def _write(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    words = {True: "yes", False: "no"}

    def text(value: Any) -> Any:
        return words[value] if isinstance(value, bool) else f"{value:.4g}" if isinstance(value, float) else value

    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([text(value) for value in row] for row in rows)


def by_cell(times: Iterable[Time]) -> dict[Cell, dict[str, Time]]:
    """The times of each cell by the names of the contestants."""
    cells: dict[Cell, dict[str, Time]] = {}
    for each in times:
        cells.setdefault(each.cell, {})[each.name] = each
    return cells


def write_table(times: Iterable[Time], path: Path = TABLE) -> None:
    """Write the table of the layers: for each layer, mask, width and batch the form of the least time.

    A simpler form is taken where the gain is small. Where several inputs were measured, the geometric mean decides.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Time]]] = {}
    for cell, names in by_cell(times).items():
        if cell.layer != "Bidirectional":
            groups.setdefault((cell.layer, cell.masked, cell.units, cell.batch), []).append(names)
    rows = []
    for key in sorted(groups):
        means = {
            name: math.exp(sum(math.log(names[name].milliseconds) for names in groups[key]) / len(groups[key]))
            for name in FORMS
            if name in groups[key][0]
        }
        plain = "graph-2" if means.get("graph-2", math.inf) < (1 - WORTH) * means["graph"] else "graph"
        best = min(means, key=means.__getitem__)
        rows.append((*key, best if means[best] < (1 - WORTH) * means[plain] else plain, plain))
    _write(path, FIELDS, rows)
    read.cache_clear()


def chosen(cell: Cell) -> str:
    """The name of the form that the layer takes by itself."""
    layer = "LSTM" if cell.layer == "Bidirectional" else cell.layer
    return choose(layer, cell.masked, cell.units, cell.batch, compiled=True).name


def ratio(cell: Cell, names: dict[str, Time]) -> float:
    """The time of the form that the layer takes, by that of the fastest peer."""
    return names[chosen(cell)].milliseconds / min(names[peer].milliseconds for peer in PEERS if peer in names)


def report(times: Sequence[Time]) -> None:
    """Print a row for each cell, and a summary."""
    cells = by_cell(times)
    print(f"milliseconds a training step, {STEPS} steps of time, {CORES} threads; least of {ROUNDS} rounds")
    heads = "".join(f"{name:>12}" for name in (*FORMS, *PEERS))
    print(f"{'layer-units, batch x inputs':34}{heads}  {'taken':8}{'spread':>7}{'ratio':>7}")
    for cell, names in cells.items():
        row = "".join(f"{names[n].milliseconds:12.2f}" if n in names else " " * 12 for n in (*FORMS, *PEERS))
        taken = chosen(cell)
        print(f"{cell.title:34}{row}  {taken:8}{names[taken].spread:7.0%}{ratio(cell, names):7.2f}")
    ratios = [ratio(cell, names) for cell, names in cells.items()]
    below = [sum(value < limit for value in ratios) for limit in (1.0, 0.95)]
    print(
        f"{len(ratios)} cells: ratio below 1.0 in {below[0]}, below 0.95 in {below[1]}; geometric mean "
        f"{math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}, highest {max(ratios):.2f}"
    )
    first = {name: [names[name].first for names in cells.values() if name in names] for name in (*FORMS, *PEERS)}
    medians = ", ".join(f"{name} {statistics.median(values):.1f}" for name, values in first.items() if values)
    print(f"seconds of processor time until the first step is done, building and compiling; median: {medians}")


def draw(times: Sequence[Time], path: Path) -> None:
    """Width against time, for LSTM and GRU in batches of 32."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    cells = by_cell(times)
    for panel, layer in zip(panels, ("LSTM", "GRU"), strict=True):
        shown = sorted((c for c in cells if c == Cell(layer, c.units, 32)), key=lambda cell: cell.units)
        units = [cell.units for cell in shown]
        panel.plot(units, [cells[c][chosen(c)].milliseconds for c in shown], "o-", label="rnnzoo, as it chooses")
        panel.plot(units, [cells[c]["graph"].milliseconds for c in shown], ".:", label="rnnzoo, graph")
        for peer in PEERS:
            pairs = [(c.units, cells[c][peer].milliseconds) for c in shown if peer in cells[c]]
            panel.plot(*zip(*pairs, strict=True), ".--", label=peer) if pairs else None
        panel.set(xscale="log", yscale="log", title=f"{layer}, batch 32", xlabel="units", xticks=units)
        panel.set_xticks(units, [str(each) for each in units])
        panel.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(f"ms a training step of {STEPS} steps")
    panels[1].legend(fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)
