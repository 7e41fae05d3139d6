"""The session of a task: raw input in, events out."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.tasks import Task, TimedRows
from streaming.runtime.tasks.keyword_spotter import KeywordSpotterSession
from streaming.runtime.tasks.rows import as_seconds
from streaming.server.batched import Errand, directly
from streaming.server.pace import Pace
from streaming.server.pieces import Pieces, cut, cut_text, cut_timed, whole
from streaming.server.sessions import Answer
from streaming.server.together import Together

# Events of one answer that are gathered, and for how long.
_EVENTS, _EVENT_SECONDS = 64, 0.05

# Fields that a task takes its steps in; others take arrays.
_FIELDS: dict[str, tuple[str, ...]] = {"words": ("text", "words"), "text": ("text",)}


class EventSession:
    """Session of a task: raw input in, events out. The task's code runs in threads, where it waits for its invokes.

    Args:
        task: of a `BatchedModel`.
        executor: runs it.
        scores: whether the answers of a keyword spotter hold the highest probability of each label since the last one.
        pace: what a step (a word, a sample, a row) costs.
        together: makes the features of many streams at once, where the task has such.
    """

    def __init__(
        self,
        task: Task,
        executor: Executor,
        scores: bool = False,
        pace: Pace | None = None,
        together: Together | None = None,
    ) -> None:
        self._task, self._executor = task, executor
        self._pace, self._together = pace or Pace(), together
        # Sessions of tasks here can be told another threshold.
        self._session: Any = task.session()
        # Others may compute for long between two of their events.
        self._is_quick = (
            pace is not None
            and task.takes in ("words", "audio", "rows")
            and not inspect.isgeneratorfunction(type(self._session).feed)
        )
        # Steps of the task that its end takes.
        self._ends = max(1, task.model.delay) * getattr(task, "step", 1) if self._is_quick else 1
        self._position = 0
        self.fields: tuple[str, ...] = _FIELDS.get(task.takes, ("x",))
        self.beside: tuple[str, ...] = ("time",) if self._takes_times else ()
        if scores and isinstance(self._session, KeywordSpotterSession):
            self._session.rows = []

    @property
    def position(self) -> int:
        return self._position

    def read(self, body: dict[str, Any]) -> Pieces:
        if self._task.takes in ("words", "text"):
            return self._texts(body)
        # Where the task fills missing values, null is one.
        filled = getattr(getattr(self._task, "reader", None), "policy", "refuse") != "refuse"
        if "time" in body:
            return self._timed(body, filled)
        array = _numbers(body["x"], filled)
        return whole(array) if self._task.takes == "array" else cut(array, self._task.takes)

    def read_binary(self, data: bytes) -> Pieces:
        if self._task.takes not in ("audio", "rows"):
            raise InputError(f"binary messages are for audio and rows, this model takes {self._task.takes}; send JSON")
        rows: Any = self._task
        width, unit = (1, "samples") if self._task.takes == "audio" else (rows.reader.width, "rows")
        if len(data) % (4 * width):
            raise InputError(f"got {len(data)} bytes, expected {unit} of float32, {4 * width} bytes each")
        values = np.frombuffer(data, "<f4")
        if unit == "samples" and math.isfinite(np.vdot(values, values)):
            return cut(values, "audio")
        return self.read({"x": values if unit == "samples" else values.reshape(-1, width)})

    async def feed(self, pieces: Pieces) -> AsyncGenerator[Answer, None]:
        # A message without steps gets an answer as well.
        piece: Any = next(pieces, [])
        while piece is not None:
            following = await self._threaded(next, pieces, None) if pieces.is_slow else next(pieces, None)
            rows = piece.rows if isinstance(piece, TimedRows) else piece
            size = len(rows) if self._task.takes in ("words", "rows", "audio") else 1
            async for answer in self._answers(following is None, size, self._session.feed, piece):
                yield answer
            piece = following

    async def quick(self, pieces: Pieces) -> Answer | None:
        if pieces.is_long or not self._is_quick or not self._pace.allows(pieces.steps):
            return None
        piece: Any = next(pieces, [])
        if self._together is not None:
            events = await self._together.call(pieces.steps, lambda: self._session.feeding(piece))
        else:
            events = self._pace.run(pieces.steps, directly, self._session.feed, piece)
        self._position += pieces.steps
        return self._fields([_plain(event) for event in events]), True

    async def finish(self) -> AsyncGenerator[Answer, None]:
        if self._is_quick and self._pace.allows(self._ends):
            events = directly(self._session.finish)
            self._position = 0
            yield self._fields([_plain(event) for event in events]), True
            return
        async for answer in self._answers(True, -self._position, self._session.finish):
            yield answer

    @property
    def threshold(self) -> float | None:
        return getattr(self._session, "threshold", None)

    def set_threshold(self, threshold: Any) -> None:
        if isinstance(threshold, bool) or not isinstance(threshold, int | float):
            raise InputError(f"'threshold' is {threshold!r:.60}, expected a probability")
        if self.threshold is None:
            raise InputError("this task decides without a threshold; set none")
        self._session.set_threshold(float(threshold))

    async def encode(self, x: Any) -> None:
        raise InputError(f"a {self._task.takes} task has no 'encode' message; send a 'feed'")

    async def save(self) -> tuple[dict[str, Any], list[bytes]]:
        context = {"position": self._position, "threshold": self.threshold}
        save = self._session.save
        return context, [save() if self._is_quick else await self._threaded(save)]

    def restore(self, context: dict[str, Any], blobs: list[bytes]) -> None:
        if context.get("threshold") not in (None, self.threshold):
            self._session.set_threshold(context["threshold"])
        self._session.restore(blobs[0])
        self._position = context["position"]

    async def _answers(
        self, last: bool, steps: int, call: Callable[..., Iterable[Any]], *args: Any
    ) -> AsyncGenerator[Answer, None]:
        """The events of a call that takes so many steps, as they come: a task may take its time from one to the next.

        `last`: no call comes after it in this message.
        """
        result = await self._threaded(call, *args)
        if isinstance(result, list):
            self._position += steps
            yield self._fields([_plain(event) for event in result]), last
            return
        events = iter(result)
        while some := await self._threaded(_gathered, events):
            yield self._fields(some), False
        self._position += steps
        yield self._fields([]), last

    def _fields(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        """With how many words the vocabulary lacked so far, and the scores, where there are such."""
        fields: dict[str, Any] = {"events": events}
        if (unknown := getattr(self._session, "unknown", None)) is not None:
            fields["unknown"] = unknown
        if rows := getattr(self._session, "rows", None):
            fields["scores"] = np.max([row for row, _ in rows], axis=0).round(4).tolist()
            rows.clear()
        return fields

    async def _threaded(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run task code in a thread; where the client leaves, its next step ends it."""
        errand = Errand()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, errand.run, function, *args)
        except asyncio.CancelledError:
            errand.abandon()
            raise

    @property
    def _takes_times(self) -> bool:
        return getattr(getattr(self._task, "reader", None), "resample", None) is not None

    def _timed(self, body: dict[str, Any], filled: bool) -> Pieces:
        """Rows with their times, checked, in pieces."""
        rows, times = _numbers(body["x"], filled), body["time"]
        if not isinstance(times, list) or len(times) != len(rows):
            raise InputError(f"'time' is no list of {len(rows)} times; give one for each row")
        return cut_timed([as_seconds(time) for time in times], rows)

    def _texts(self, body: dict[str, Any]) -> Pieces:
        name, given = next(iter(body.items()))
        if name == "text":
            if not isinstance(given, str):
                raise InputError(f"'text' is {type(given).__name__}, expected a string")
            return whole(given) if self._task.takes == "text" else cut_text(given)
        if not isinstance(given, list) or not all(isinstance(word, str) and word for word in given):
            raise InputError("'words' is no list of strings that are not empty; give the words of a sentence in order")
        return cut(given, "words")


def _numbers(given: Any, filled: bool) -> NDArray[Any]:
    """An array of finite numbers; `filled`: a missing value is null."""
    try:
        array = np.atleast_1d(np.asarray(given, np.float64 if filled else None))
    except (ValueError, TypeError):
        raise InputError("'x' is no array of numbers whose rows have one length; give one") from None
    if array.dtype.kind not in "fiu" or (np.isinf(array) if filled else ~np.isfinite(array)).any():
        raise InputError("'x' holds something else than finite numbers; give an array of these")
    return array


def _gathered(events: Iterator[Any]) -> list[dict[str, Any]]:
    """The next events: as many as come in a moment, at least one unless there are no more."""
    until = time.monotonic() + _EVENT_SECONDS
    gathered: list[dict[str, Any]] = []
    for event in itertools.islice(events, _EVENTS):
        gathered.append(_plain(event))
        if time.monotonic() >= until:
            break
    return gathered


def _plain(event: Any) -> dict[str, Any]:
    return {"event": type(event).__name__, **{name: _data(value) for name, value in event._asdict().items()}}


def _data(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _data(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
