"""Tables that commands print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from rnnzoo.bundles.cards import figure
from rnnzoo.data.summary import summarize

if TYPE_CHECKING:
    from rnnzoo.tasks.base import Task

_LABELS = {
    "offline": "offline (Keras)",
    "float32": "streamed float32",
    "float32_never_reset": "float32, never reset",
    "int8": "streamed int8",
    "int8_never_reset": "int8, never reset",
}
_COUNTS = ("count",)
_TITLES = {"per_hour": "an hour", "per_hour_bound": "at most (95 %)", "delay_seconds": "delay, s"}
# Labels that are shown one by one.
_CLASSES = 24
_FILE = ("size_bytes", "delay", "max_abs_error")


def print_data(task: Task) -> None:
    """Print how the data of a task were read; warnings go to standard error."""
    texts = all(kind.endswith(("-text", "-captions")) for kind in task.kinds)
    lines, warnings = summarize(task.splits, task.findings, texts)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("data", task.config.dataset)
    for name, value in lines.items():
        table.add_row(name, value)
    Console(highlight=False, markup=False).print(table)
    for warning in warnings:
        print(f"rnnzoo: warning: {warning}", file=sys.stderr)


def print_evaluation(evaluation: dict[str, Any]) -> None:
    """The figures that `evaluate_run` returns."""
    count = int(evaluation["offline"]["count"])
    print(f"{evaluation['name']} on {evaluation['dataset']}, split {evaluation['split']}, {count:,} decisions")
    print_figures(evaluation)
    print_classes(evaluation.get("classes", {}))
    if "not_streamable" in evaluation:
        print(f"not streamed: {evaluation['not_streamable']}")
    if evaluation["made"]["signature"]:
        print(f"measured by {evaluation['made']['signature']}")


def print_listening(listening: Any, measured: bool) -> None:
    """What `rnnzoo.runs.spotting` found.

    Args:
        listening: a `Listening`.
        measured: the recordings are not those of the development split, on which thresholds should be chosen.
    """
    print(f"{listening.name} on {listening.where}: {listening.hours:.3f} hours")
    rows = listening.rows()
    table = Table()
    for name in rows[0]:
        table.add_column(_TITLES.get(name, name.replace("_", " ")), justify="right")
    for row in rows:
        cells = [_listening_cell(name, value) for name, value in row.items()]
        style = "bold" if row["threshold"] in (listening.shipped, listening.chosen) else None
        table.add_row(*cells, style=style)
    Console(highlight=False).print(table)
    print(f"the model's threshold is {listening.shipped:g}")
    if listening.asked is None:
        return
    if listening.chosen is None:
        print(
            f"no threshold at which a keyword is found has at most {listening.asked:g} false alarms an hour (one alone "
            f"is {1 / listening.hours:.3g}): allow more, measure longer recordings, or train with more negatives"
        )
        return
    note = " (chosen on these recordings: measure it on others)" if measured else ""
    print(f"lowest threshold with at most {listening.asked:g} false alarms an hour: {listening.chosen:g}{note}")


def _listening_cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name.startswith("misses"):
        return f"{value:.1%}"
    return f"{value:g}" if name in ("threshold", "false_alarms") else f"{value:.2f}"


def print_classes(classes: dict[str, dict[str, float]]) -> None:
    """The offline figures of each label, the rarest hits first where there are many."""
    if not classes:
        return
    shown = sorted(classes.items(), key=lambda item: item[1]["f1"]) if len(classes) > _CLASSES else classes.items()
    rows = [{"label": label, **figures, "count": int(figures["count"])} for label, figures in shown]
    print_rows(rows[:_CLASSES])
    if len(rows) > _CLASSES:
        print(f"and {len(rows) - _CLASSES} labels with a higher f1: --json and --csv have all")


def print_figures(evaluation: dict[str, Any]) -> None:
    """The table of these figures."""
    # A column for each way to run it: there are at most five, and any number of figures.
    kinds = {key: label for key, label in _LABELS.items() if key in evaluation}
    table = Table()
    table.add_column("")
    for label in kinds.values():
        table.add_column(label, justify="right")
    for name in evaluation["offline"]:
        if name not in _COUNTS:
            # Not every way has every figure: a search is measured offline alone.
            cells = [figure(name, evaluation[key][name]) if name in evaluation[key] else "" for key in kinds]
            table.add_row(name.replace("_", " "), *cells)
    files = [_file_figures(evaluation[key]) for key in kinds]
    for name, *values in zip(("MB", "delay", "max error"), *files, strict=True):
        if any(values):
            table.add_row(name, *values)
    Console(highlight=False).print(table)


def print_sweep(rows: list[dict[str, Any]], settings: list[str], out: Any) -> None:
    """The rows that `run_sweep` returns, best first, and the errors of those that diverged.

    Args:
        rows: of the combinations.
        settings: the keys of the grid; only those that vary are shown, by their last part.
        out: where the runs are.
    """
    varied = [key for key in settings if len({row[key] for row in rows}) > 1] or settings[:1]
    short = {key: key.rpartition(".")[2] for key in settings}
    if len(set(short.values())) < len(short):
        short = {key: key for key in settings}
    hidden = {"error", *settings} - set(varied)
    print_rows([{short.get(key, key): value for key, value in row.items() if key not in hidden} for row in rows])
    for row in rows:
        if "error" in row:
            print(f"{'  '.join(f'{short[key]}={row[key]}' for key in varied)}: {row['error']}")
    print(f"saved {out}: a run for each line, and results.csv")


def print_rows(rows: list[dict[str, Any]]) -> None:
    """A table with a line for each row, and a column for each key; numbers and the words above them are never cut."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    table, needed = Table(box=None, pad_edge=False), 0
    for place, name in enumerate(names):
        title, cells = name.replace("_", " "), [_cell(name, row.get(name)) for row in rows]
        longest = max(map(len, [*title.split(), *cells])) if place else min(24, max(map(len, cells)))
        options: Any = {"justify": "right", "width": longest} if place else {"min_width": longest, "overflow": "fold"}
        table.add_column(title, **options)
        needed += longest + 2
    for row in rows:
        table.add_row(*(_cell(name, row.get(name)) for name in names))
    console = Console(highlight=False)
    console.width = max(console.width, needed)
    console.print(table)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return figure(name, value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _file_figures(row: dict[str, Any]) -> tuple[str, str, str]:
    if "size_bytes" not in row:
        return "", "", ""
    return f"{row['size_bytes'] / 1e6:.2f}", str(row["delay"]), f"{row['max_abs_error']:.1e}"
