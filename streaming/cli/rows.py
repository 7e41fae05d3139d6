"""`streaming run` on tables: reads rows, and writes the events of the task with the line and time of their rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from streaming.cli.lines import ColumnReader, TableRow
from streaming.errors import InputError
from streaming.runtime.model import StreamingModel
from streaming.runtime.tables import Resampler, records, shown_time, text_lines

# Bad rows that are reported one by one.
_REPORTED = 20


def run_rows(
    task: Any,
    source: IO[bytes],
    display: Any,
    encoding: str | None = None,
    skip: Callable[[str], None] | None = None,
    search: Mapping[str, Any] | None = None,
) -> list[str]:
    """Stream a table through a task that takes rows; a blank line ends a sequence.

    Args:
        task: of the model.
        source: CSV or JSON lines.
        display: gets the events.
        encoding: of the source; None: UTF-8, or UTF-16 if there is a byte order mark.
        skip: called with each malformed row, which is then left out; None: it is an error.
        search: options of the session, for a task that has some.

    Returns:
        Notes on the input, a line each.

    Raises:
        InputError: a row is malformed, or there is no row; the message has the number of the line.
    """
    spec = task.spec
    reader = ColumnReader(task.columns, task.reader.width, spec.time, spec.resample is not None)
    table = _Rows(task, display, search or {})
    bad = 0
    for number, text in records(text_lines(source, encoding)):
        if not text.strip():
            reader.end()
            table.end()
            continue
        try:
            row = reader.read(text, number)
            if row is not None:
                table.take(row)
        except InputError as error:
            said = str(error) if str(error).startswith("line ") else f"line {number}: {error}"
            if skip is None or not reader.begun:
                raise InputError(said) from error
            bad += 1
            if bad <= _REPORTED:
                skip(said)
    table.end()
    if not table.sequences:
        raise InputError("the input holds no rows; give a line of numbers or more")
    notes = [reader.note] if reader.note else []
    if table.dropped:
        notes.append(f"{table.dropped} rows that lack a value were left out")
    return [*notes, *([f"{bad} rows were left out"] if bad else [])]


class _Rows:
    """The rows of one sequence after the other, and where the events about them come from.

    Args:
        task: of the model.
        display: gets the events.
        search: options of the session.
    """

    def __init__(self, task: Any, display: Any, search: Mapping[str, Any]):
        session = task.session()
        self._task, self._display = task, display
        self._session = type(session)(task, **search) if search else session
        self._filler = task.reader.filler()
        spec = task.spec
        self._resampler = Resampler(spec.resample, task.reader.width) if spec.resample else None
        self._columns = {"columns": list(task.targets)} if hasattr(task, "targets") else {}
        self.sequences = self.dropped = 0
        self._dates = False
        self._begin()

    def _begin(self) -> None:
        # Line and time of rows that wait for a value, and of those that the model took and has not answered.
        self._waiting: deque[tuple[int, str | float | None]] = deque()
        self._taken: deque[tuple[int, str | float | None]] = deque()
        self._passed = self._answered = self._events = 0
        self._fed = False

    def take(self, row: TableRow) -> None:
        """One row."""
        if self._resampler is None:
            self._fill(row.values[None], [(row.line, row.time)])
        else:
            self._dates = row.seconds is not None and not _is_plain(row.time)
            times, rows = self._resampler.feed(np.array([row.seconds]), row.values[None])
            self._fill(rows, [(row.line, shown_time(float(time), self._dates)) for time in times])
        self._fed = True

    def end(self) -> None:
        """End the sequence, if one has begun."""
        if not self._fed:
            return
        if self._resampler is not None:
            times, rows = self._resampler.finish()
            self._fill(rows, [(0, shown_time(float(time), self._dates)) for time in times])
        self._feed(self._filler.finish())
        self.dropped += len(self._waiting)
        self._show(self._session.finish())
        self.sequences += 1
        self._begin()

    def _fill(self, rows: NDArray[Any], places: list[tuple[int, str | float | None]]) -> None:
        filled = self._filler.feed(rows)
        self._waiting.extend(places)
        self._feed(filled)

    def _feed(self, filled: Any) -> None:
        for number in filled.numbers:
            while self._passed < number:
                self._waiting.popleft()
                self._passed, self.dropped = self._passed + 1, self.dropped + 1
            self._taken.append(self._waiting.popleft())
            self._passed += 1
        rows = filled.with_mask() if self._task.reader.mask else filled.rows
        if len(rows):
            self._show(self._session.feed(rows))

    def _show(self, events: Iterable[Any]) -> None:
        for event in events:
            step = answered_step(self._task.model, self._events)
            while self._answered < step and len(self._taken) > 1:
                self._taken.popleft()
                self._answered += 1
            place: dict[str, Any] = {"sequence": self.sequences}
            if self._taken:
                line, time = self._taken[0]
                place |= ({"line": line} if line else {}) | ({"time": time} if time is not None else {})
            if not hasattr(event, "row"):
                place["row"] = self._events
            self._display.show(event, place | self._columns)
            self._events += 1


def answered_step(model: StreamingModel, row: int) -> int:
    """The input step, counted from 0, that an output row is about: for windows the last one of the window."""
    meta = model.metadata
    if meta.window is not None:
        return model.last_step(row)
    up, down = meta.outputs[0].rate
    return -(-(meta.outputs[0].start + row + 1) * down // up) - 1


def _is_plain(time: str | None) -> bool:
    return time is None or time.replace(",", ".").lstrip("-").replace(".", "", 1).isdecimal()
