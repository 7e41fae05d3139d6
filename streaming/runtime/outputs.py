"""Selects the rows of the graph's results that exist, and names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.runtime.metadata import Metadata

# An array where the model has one output, a dict of arrays by name where it has several. Only the model knows
# which, so a union would make every caller test what it knows already.
Arrays = Any


class Outputs:
    """All outputs of a model, in the order in which an invoke returns them: values, masks, states.

    count: how many of them come before the states; plain: there is one, without a mask; start: the first position
    at which the first output exists; steady: the input step from which on all rows exist, None where masks say which.

    real: integers that stand for real numbers come as these, in float32.
    """

    def __init__(self, meta: Metadata, real: bool = False) -> None:
        self._infos = meta.outputs
        self._scaled = [real and out.scale is not None for out in meta.outputs]
        marks = [out for out in meta.outputs if out.valid]
        self._marks = [len(meta.outputs) + marks.index(out) if out.valid else 0 for out in meta.outputs]
        self.count = len(meta.outputs) + len(marks)
        # Outputs of truth values that come as zeros and ones.
        self._flags = [out.dtype == "bool" != meta.flags for out in meta.outputs]
        self.plain = len(meta.outputs) == 1 and not marks and meta.hop == 1 and not any(self._flags + self._scaled)
        self._hop = meta.hop
        # From this input step on every row of every invoke exists; None where a mask says which do.
        self.steady = None if marks else meta.hop * max(out.start for out in meta.outputs)
        self.start = meta.outputs[0].start

    def ready(self, results: Sequence[NDArray[Any]], begin: int, total: int | None, row: int = 0) -> list[NDArray[Any]]:
        """The rows that exist, one array for each output.

        Args:
            results: what an invoke returned.
            begin: the input step at which the invoke began.
            total: the length of the sequence, None before its end and for windows.
            row: the stream's place in the batch.
        """
        arrays = []
        for index, out in enumerate(self._infos):
            rows = results[index][row]
            if self._flags[index]:
                rows = rows.astype(bool)
            elif self._scaled[index]:
                rows = out.dequantize(rows)
            if out.valid:
                arrays.append(rows[results[self._marks[index]][row].astype(bool)])
            else:
                up, down = out.rate
                last = len(rows) if total is None else max(0, total + out.end - begin) * up // down
                arrays.append(rows[max(0, out.start - begin // self._hop) : last])
        return arrays

    def all(self, results: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The rows of all outputs, one array for each, where all exist; results are (1, rows, ...)."""
        columns = [rows[0].astype(bool) if flag else rows[0] for rows, flag in zip(results, self._flags, strict=True)]
        infos = zip(columns, self._infos, self._scaled, strict=True)
        return [out.dequantize(rows) if scaled else rows for rows, out, scaled in infos]

    def joined(self, pieces: list[list[NDArray[Any]]]) -> Arrays:
        """Outputs of several invokes, concatenated; empty arrays where there was none."""
        if len(pieces) == 1:
            return self.named(pieces[0])
        columns = [[piece[i] for piece in pieces] for i in range(len(self._infos))]
        dtypes = ["float32" if scaled else out.dtype for out, scaled in zip(self._infos, self._scaled, strict=True)]
        empty = [np.zeros((0, *out.shape), dtype) for out, dtype in zip(self._infos, dtypes, strict=True)]
        return self.named([np.concatenate(c) if c else e for c, e in zip(columns, empty, strict=True)])

    def named(self, columns: list[NDArray[Any]]) -> Arrays:
        """A single array as it is, several arrays by name."""
        if len(columns) == 1:
            return columns[0]
        return {out.name: column for out, column in zip(self._infos, columns, strict=True)}
