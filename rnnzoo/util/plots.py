"""Plots as PNG files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.errors import DataError
from rnnzoo.util.files import replacing

# Colours that people with any colour vision tell apart (Okabe & Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))


@contextlib.contextmanager
def figure(
    path: Path, columns: int = 1, size: tuple[float, float] = (6.4, 4.4), *, rows: int = 1, dpi: int = 120
) -> Iterator[list[Any]]:
    """Context with axes in columns and rows, each of a size in inches; saved as PNG at the end, atomically.

    dpi: pixels of an inch.

    Raises:
        DataError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(size[0] * columns, size[1] * rows), dpi=dpi, layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False).ravel().tolist()
    for one in axes:
        one.grid(alpha=0.25)
        one.spines[["top", "right"]].set_visible(False)
    yield axes
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        FigureCanvasAgg(made)
        with replacing(path) as part:
            # What the layout leaves outside of the figure, such as a label beside a square picture, is not cut.
            made.savefig(part, format="png", bbox_inches="tight", pad_inches=0.1)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror}): choose another folder, or make room") from error


def curves(
    axis: Any,
    lines: Mapping[str, Sequence[float] | NDArray[Any]],
    *,
    title: str,
    x: str,
    y: str,
    log: bool = True,
    legend: bool = True,
    start: int = 0,
) -> None:
    """Lines, each with a colour and a dash of its own, the first value at `start`; a logarithmic axis has no zeros."""
    for i, (name, values) in enumerate(lines.items()):
        array = np.asarray(values, float)
        array = np.where(array > 0, array, np.nan) if log else array
        style = _STYLES[i % len(_STYLES)]
        colour, marker = COLOURS[i % len(COLOURS)], "o" if len(array) == 1 else ""
        x_values = start + np.arange(len(array))
        axis.plot(x_values, array, color=colour, linestyle=style, marker=marker, label=name, lw=1.8)
    axis.set(title=title, xlabel=x, ylabel=y)
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if log:
        axis.set_yscale("log")
    if lines and legend:
        axis.legend(frameon=False, fontsize=9)


def dots(axis: Any, values: Mapping[str, float], *, title: str, x: str) -> None:
    """A dot for each name, the first on top, on a logarithmic axis: it has no zero that a bar could begin at."""
    names = list(values)
    axis.plot([values[name] for name in names], range(len(names)), "o", color=COLOURS[0], ms=7)
    axis.set(title=title, xlabel=x, xscale="log")
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
