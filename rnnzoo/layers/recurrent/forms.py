"""Forms of the loop over time, and the table that says which of them is fastest.

`python -m benchmarks widths` measures all forms and writes the table, `forms.csv`. All forms compute the same numbers,
up to rounding.
"""

from __future__ import annotations

import csv
import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("forms.csv")
# Where the size of a batch is not known when the graph is built.
BATCH = 32


@dataclass(frozen=True)
class Form:
    """How a layer runs its loop: compiled by XLA or by TensorFlow's executor; on how many parts of a batch at once."""

    compiled: bool = False
    parts: int = 1

    @property
    def name(self) -> str:
        """E.g. `graph` or `xla-2`."""
        return ("xla" if self.compiled else "graph") + (f"-{self.parts}" if self.parts > 1 else "")


PLAIN = Form()
FORMS = {form.name: form for form in (PLAIN, Form(parts=2), Form(compiled=True), Form(compiled=True, parts=2))}


def choose(layer: str, masked: bool, units: int, batch: int | None, compiled: bool) -> Form:
    """The form in the row that is nearest, in the logarithms of units and batch; `PLAIN` for an unknown layer.

    Args:
        layer: name of the class.
        masked: whether there is a mask. A layer without rows with a mask has the same rows for both.
        units: U.
        batch: B, or None if it is unknown.
        compiled: whether the form may be one of XLA.
    """
    rows = [row for row in read() if row.layer == layer]
    rows = [row for row in rows if row.masked == masked] or rows
    if not rows:
        return PLAIN

    def distance(row: Row) -> float:
        return math.hypot(math.log(row.units / units), math.log(row.batch / (batch or BATCH)))

    nearest = min(rows, key=distance)
    return nearest.form if compiled else nearest.without_xla


class Row(NamedTuple):
    """A row of the table: what was measured, the fastest form, and the fastest where XLA cannot be used."""

    layer: str
    masked: bool
    units: int
    batch: int
    form: Form
    without_xla: Form


FIELDS = Row._fields


@functools.cache
def read(path: Path = TABLE) -> tuple[Row, ...]:
    """The rows of a table."""
    with path.open(newline="") as file:
        return tuple(
            Row(
                row["layer"],
                row["masked"] == "yes",
                int(row["units"]),
                int(row["batch"]),
                FORMS[row["form"]],
                FORMS[row["without_xla"]],
            )
            for row in csv.DictReader(file)
        )
