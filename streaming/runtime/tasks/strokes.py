"""Tasks over the strokes of a pen: drawings, point by point."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError
from streaming.runtime.carried import SavedSession
from streaming.runtime.decoding.mixtures import PARAMETERS, PEN_DOWN, PEN_END, PENS, PenMixture
from streaming.runtime.model import StreamingModel
from streaming.runtime.stream import Stream
from streaming.runtime.tasks.base import Task, real_rows
from streaming.runtime.tasks.rows import RowReader
from streaming.runtime.tasks.schema import SketcherSpec

# The row before the first point of a drawing: the pen is up, and has not moved.
BEGINNING = (0.0, 0.0, 1.0)


class Point(NamedTuple):
    """Point `row` of a drawing (counted from 0): the movement to it, and what the pen does after it.

    `score` is the log density of both under the model, movements in units of its scaler.
    """

    row: int
    dx: float
    dy: float
    lift: bool
    end: bool
    score: float


class Sketcher(Task):
    """Draws on from a beginning, or from nothing: each point is drawn from a mixture density, given those before it.

    Args:
        model: takes rows (dx, dy, lift) and gives the 6 M + 3 numbers of `decoding.mixtures.PenMixture` after each.
    """

    takes: ClassVar[str] = "rows"
    spec_type = SketcherSpec

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        self.reader = RowReader(model, self.spec)
        size = math.prod(model.metadata.outputs[0].shape)
        if len(model.metadata.outputs) > 1 or size <= PENS or (size - PENS) % PARAMETERS or self.reader.width != 3:
            raise ArtifactError(
                f"a sketcher takes rows of dx, dy and lift and gives {PARAMETERS} M + {PENS} numbers; the model takes "
                f"{self.reader.width} and gives {size}. Export the model anew"
            )
        if model.delay:
            raise ArtifactError("a sketcher needs a model without delay: the next point depends on the one before")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.reader.columns

    def session(self) -> SketcherSession:
        """Takes rows (n, 3) of the beginning of a drawing; gives the points that follow, at its end."""
        return SketcherSession(self)

    def sketch(self, rows: Any = (), **options: Any) -> list[Point]:
        """The points that follow a beginning (n, 3) of (dx, dy, lift).

        Args:
            rows: the beginning; none: the drawing begins with its first point.
            options: `temperature`, `max_length` and `seed`, as `SketcherSession` takes them.

        Raises:
            InputError: the rows are of another kind, or an option is out of its range.
        """
        session = SketcherSession(self, **options)
        given = np.asarray(rows, np.float64)
        return [*session.feed(given.reshape(0, 3) if given.size == 0 else given), *session.finish()]

    def read(self, rows: Any) -> NDArray[Any]:
        """Rows (n, 3), checked; raises InputError where they are no numbers or a lift is neither 0 nor 1."""
        values = self.reader.read(rows)
        wrong = np.flatnonzero(~np.isin(values[:, 2], (0, 1)))
        if len(wrong):
            raise InputError(
                f"lift is {values[wrong[0], 2]:g} in row {wrong[0] + 1}, expected 1 after the last point of a stroke, "
                "else 0"
            )
        return values


class SketcherSession(SavedSession):
    """Beginnings of drawings through a `Sketcher`, one at a time.

    Args:
        task: the sketcher.
        temperature: at which points are drawn, see `PenMixture.draw`; that of the file where None.
        max_length: most points that are drawn; that of the file where None.
        seed: the same seed gives the same drawing; the drawings of a session differ.

    Raises:
        InputError: an option is out of its range.
    """

    carries = ("_stream", "_row", "_last", "_drawings")

    def __init__(self, task: Sketcher, temperature: float | None = None, max_length: int | None = None, seed: int = 0):
        super().__init__(task)
        self._temperature = task.spec.temperature if temperature is None else temperature
        self._most = task.spec.max_length if max_length is None else max_length
        if not 0 <= self._temperature < math.inf or self._most < 1:
            raise InputError(
                f"temperature is {self._temperature} and max_length {self._most}, expected 0 or more and 1 or more"
            )
        self._seed, self._drawings = seed, 0
        self._stream: Stream = task.model.create_stream()
        self._row = 0
        # The output after the last row that was given; none before the first.
        self._last = np.zeros(0)

    def feed(self, piece: Any) -> list[Point]:
        """Takes rows of the beginning; points come at its end."""
        rows = self._task.read(piece)
        if not len(self._last):
            # A beginning may say by itself that the pen is up.
            rows = rows[1:] if len(rows) and tuple(rows[0]) == BEGINNING else rows
            rows, self._row = np.concatenate([[BEGINNING], rows]), -1
        if len(rows):
            self._row += len(rows)
            self._last = np.asarray(self._stream.feed(self._task.reader.scaled(rows)))[-1].astype(np.float64)
        return []

    def finish(self) -> list[Point]:
        """The points that follow, until the model ends the drawing or `max_length` points."""
        points = list(self._points()) if len(self._last) else []
        self._stream.reset()
        self._row, self._last, self._drawings = 0, np.zeros(0), self._drawings + bool(points)
        return points

    def _points(self) -> Iterator[Point]:
        spec, scale = self._task.spec, np.array(self._task.spec.scaler.scale)
        generator = np.random.default_rng((self._seed, self._drawings))
        output = self._last
        for row in range(self._row, self._row + self._most):
            mixture = PenMixture.read(real_rows(self._task.model, output).ravel(), spec.floor)
            move = mixture.draw(generator, self._temperature)
            lifted, ended = move.pen != PEN_DOWN, move.pen == PEN_END
            dx, dy = move.dx * scale[0], move.dy * scale[1]
            yield Point(row, dx, dy, lifted, ended, move.score)
            if ended:
                return
            output = self._stream.step(self._task.reader.scaled(np.array([[dx, dy, float(lifted)]])))[0]
