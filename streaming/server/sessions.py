"""Sessions: apply a client's messages to a stream, as arrays for any model or as the raw input of its task."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.batcher import StreamBatcher
from streaming.runtime.metadata import Metadata
from streaming.runtime.tasks import Task, TimedRows
from streaming.runtime.tasks.keyword_spotter import KeywordSpotterSession
from streaming.runtime.tasks.rows import as_seconds
from streaming.runtime.tokenization import tokenize
from streaming.runtime.turns import CallFuture
from streaming.server.batched import work

# Outputs are sent in pieces of about this size, so that a slow reader holds back the computing, not the memory.
_PIECE_BYTES, _PIECE_STEPS = 1 << 16, 1024
# Events of one answer that are gathered, and for how long.
_EVENTS, _EVENT_SECONDS = 64, 0.05

# Fields that a task takes its steps in; others take arrays.
_FIELDS: dict[str, tuple[str, ...]] = {"words": ("text", "words"), "text": ("text",)}

# Fields of an output message, and whether it is the last of its answer.
Answer = tuple[dict[str, Any], bool]


class Session(Protocol):
    """One sequence of one client. A call that fails leaves it as it was.

    Attributes:
        fields: of a `feed` message, in which it takes steps; `beside`: those that may come beside.
        position: how many steps (words, samples, rows) it has taken.
        threshold: the probability that it decides by; None where it decides without one.
    """

    fields: tuple[str, ...]
    beside: tuple[str, ...]

    @property
    def threshold(self) -> float | None: ...

    @property
    def position(self) -> int: ...

    def read(self, body: dict[str, Any]) -> Iterator[Any]:
        """The pieces of a `feed` message, all checked before the first is taken; raises InputError."""

    def read_binary(self, data: bytes) -> Iterator[Any]:
        """The same for a binary message, float32 in little-endian."""

    def feed(self, pieces: Iterator[Any]) -> AsyncIterator[Answer]:
        """Take pieces, one after the other."""

    def finish(self) -> AsyncIterator[Answer]:
        """End the sequence."""

    async def encode(self, x: Any) -> None:
        """Take the whole input that comes before the first step."""

    def set_threshold(self, threshold: Any) -> None:
        """Decide by another threshold from the next step on; raises InputError where that cannot be."""

    async def save(self) -> tuple[dict[str, Any], list[bytes]]:
        """All that `restore` needs: JSON, and bytes."""

    def restore(self, context: dict[str, Any], blobs: list[bytes]) -> None:
        """Make a fresh session go on where another was saved."""


class ArraySession:
    """Arrays in, arrays out.

    Args:
        batcher: of the model.
        binary: whether outputs go out as float32.
    """

    fields: tuple[str, ...] = ("x",)
    beside: tuple[str, ...] = ()
    threshold = None

    def __init__(self, batcher: StreamBatcher, binary: bool) -> None:
        self._batcher, self._binary = batcher, binary
        self._stream = batcher.model.create_stream()
        self._inputs = batcher.model.metadata.inputs
        self._steps = piece_steps(batcher.model.metadata)

    @property
    def position(self) -> int:
        return self._stream.position

    def read(self, body: dict[str, Any]) -> Iterator[Any]:
        arrays = [array[0] for array in self._batcher.model.inputs.read(body["x"], None, True)]
        total = next(len(array) for array, info in zip(arrays, self._inputs, strict=True) if info.time)
        return self._pieces(arrays, total)

    def read_binary(self, data: bytes) -> Iterator[Any]:
        info = self._inputs[0]
        size = math.prod(info.shape)
        if len(self._inputs) > 1 or not info.dtype.startswith("float"):
            raise InputError("binary messages are for models with one input of floats; send JSON")
        if len(data) % (4 * size):
            raise InputError(f"got {len(data)} bytes, expected steps of {size} float32 ({4 * size} bytes) each")
        return self.read({"x": np.frombuffer(data, "<f4").reshape(-1, *info.shape)})

    async def feed(self, pieces: Iterator[Any]) -> AsyncIterator[Answer]:
        piece = next(pieces)
        while piece is not None:
            rows = await _done(self._batcher.submit(self._stream, piece))
            piece = next(pieces, None)
            yield self._answer(rows), piece is None

    async def finish(self) -> AsyncIterator[Answer]:
        yield self._answer(await _done(self._batcher.finish(self._stream))), True

    async def encode(self, x: Any) -> None:
        await _done(self._batcher.call(self._stream, self._stream.encode, x))

    def set_threshold(self, threshold: Any) -> None:
        raise InputError("a model without a task decides nothing by a threshold; set none")

    async def save(self) -> tuple[dict[str, Any], list[bytes]]:
        return {}, [await _done(self._batcher.call(self._stream, self._stream.save))]

    def restore(self, context: dict[str, Any], blobs: list[bytes]) -> None:
        self._stream = self._batcher.model.restore(blobs[0])

    def _answer(self, rows: Any) -> dict[str, Any]:
        if self._binary:
            return {"rows": len(rows), "binary": np.ascontiguousarray(rows, "<f4").tobytes()}
        if isinstance(rows, dict):
            return {"y": {name: values.tolist() for name, values in rows.items()}}
        return {"y": rows.tolist()}

    def _pieces(self, arrays: list[NDArray[Any]], total: int) -> Iterator[Any]:
        # A message without steps is one piece as well: it gets an answer.
        for begin in range(0, max(total, 1), self._steps):
            end = begin + self._steps
            parts = {
                info.name: array[begin:end] if info.time else array
                for array, info in zip(arrays, self._inputs, strict=True)
            }
            yield parts if len(parts) > 1 else next(iter(parts.values()))


class EventSession:
    """Session of a task: raw input in, events out. The task's code runs in threads, where it waits for its invokes.

    Args:
        task: of a `BatchedModel`.
        executor: has a thread for each connection.
        scores: whether the answers of a keyword spotter hold the highest probability of each label since the last one.
    """

    def __init__(self, task: Task, executor: Executor, scores: bool = False) -> None:
        self._task, self._executor = task, executor
        # Sessions of tasks here can be told another threshold.
        self._session: Any = task.session()
        self._position = 0
        self.fields: tuple[str, ...] = _FIELDS.get(task.takes, ("x",))
        self.beside: tuple[str, ...] = ("time",) if self._takes_times else ()
        if scores and isinstance(self._session, KeywordSpotterSession):
            self._session.rows = []

    @property
    def position(self) -> int:
        return self._position

    def read(self, body: dict[str, Any]) -> Iterator[Any]:
        if self._task.takes in ("words", "text"):
            return self._texts(body)
        # Where the task fills missing values, null is one.
        filled = getattr(getattr(self._task, "reader", None), "policy", "refuse") != "refuse"
        if "time" in body:
            return self._timed(body, filled)
        array = _numbers(body["x"], filled)
        return iter([array]) if self._task.takes == "array" else _cut(array)

    def read_binary(self, data: bytes) -> Iterator[Any]:
        if self._task.takes != "audio":
            raise InputError(f"binary messages are for audio, this model takes {self._task.takes}; send JSON")
        if len(data) % 4:
            raise InputError(f"got {len(data)} bytes, expected samples of float32, 4 bytes each")
        return self.read({"x": np.frombuffer(data, "<f4")})

    async def feed(self, pieces: Iterator[Any]) -> AsyncIterator[Answer]:
        # A message without steps gets an answer as well.
        piece: Any = next(pieces, [])
        while piece is not None:
            following = next(pieces, None)
            rows = piece.rows if isinstance(piece, TimedRows) else piece
            size = len(rows) if self._task.takes in ("words", "rows", "audio") else 1
            async for answer in self._answers(following is None, size, self._session.feed, piece):
                yield answer
            piece = following

    async def finish(self) -> AsyncIterator[Answer]:
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
        return context, [await self._threaded(self._session.save)]

    def restore(self, context: dict[str, Any], blobs: list[bytes]) -> None:
        if context.get("threshold") not in (None, self.threshold):
            self._session.set_threshold(context["threshold"])
        self._session.restore(blobs[0])
        self._position = context["position"]

    async def _answers(
        self, last: bool, steps: int, call: Callable[..., Iterable[Any]], *args: Any
    ) -> AsyncIterator[Answer]:
        """The events of a call that takes so many steps, as they come: a task may take its time from one to the next.

        `last`: no call comes after it in this message.
        """
        found = await self._threaded(call, *args)
        if isinstance(found, list):
            self._position += steps
            yield self._fields([_plain(event) for event in found]), last
            return
        events = iter(found)
        while some := await self._threaded(_gathered, events):
            yield self._fields(some), False
        self._position += steps
        yield self._fields([]), last

    def _fields(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        """With how many words the vocabulary lacked so far, and the scores, where there are such."""
        found: dict[str, Any] = {"events": events}
        if (unknown := getattr(self._session, "unknown", None)) is not None:
            found["unknown"] = unknown
        if rows := getattr(self._session, "rows", None):
            found["scores"] = np.max([row for row, _ in rows], axis=0).round(4).tolist()
            rows.clear()
        return found

    async def _threaded(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run task code in a thread; where the client leaves, its next step ends it."""
        abandoned = threading.Event()

        def run() -> Any:
            work.abandoned = abandoned
            try:
                work.check()
                return function(*args)
            finally:
                work.abandoned = None

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, run)
        except asyncio.CancelledError:
            abandoned.set()
            raise

    @property
    def _takes_times(self) -> bool:
        return getattr(getattr(self._task, "reader", None), "resample", None) is not None

    def _timed(self, body: dict[str, Any], filled: bool) -> Iterator[Any]:
        """Rows with their times, checked, in pieces."""
        rows, times = _numbers(body["x"], filled), body["time"]
        if not isinstance(times, list) or len(times) != len(rows):
            raise InputError(f"'time' is no list of {len(rows)} times; give one for each row")
        seconds = [as_seconds(time) for time in times]
        return (
            TimedRows(seconds[begin : begin + _PIECE_STEPS], rows[begin : begin + _PIECE_STEPS])
            for begin in range(0, max(1, len(rows)), _PIECE_STEPS)
        )

    def _texts(self, body: dict[str, Any]) -> Iterator[Any]:
        name, given = next(iter(body.items()))
        if name == "text":
            if not isinstance(given, str):
                raise InputError(f"'text' is {type(given).__name__}, expected a string")
            if self._task.takes == "text":
                return iter([given])
            given = tokenize(given)
        if not isinstance(given, list) or not all(isinstance(word, str) and word for word in given):
            raise InputError("'words' is no list of strings that are not empty; give the words of a sentence in order")
        return _cut(given)


def piece_steps(meta: Metadata) -> int:
    """Steps whose outputs make about one piece: whole chunks, at least one."""
    rows = [(out.rate, math.prod(out.shape) * np.dtype(out.dtype).itemsize) for out in meta.outputs]
    size = sum(max(1, math.ceil(width * up / down)) for (up, down), width in rows)
    steps = min(_PIECE_STEPS, _PIECE_BYTES // size)
    return max(meta.chunk, steps // meta.chunk * meta.chunk)


def _numbers(given: Any, filled: bool) -> NDArray[Any]:
    """An array of finite numbers; `filled`: a missing value is null."""
    try:
        array = np.atleast_1d(np.asarray(given, np.float64 if filled else None))
    except (ValueError, TypeError):
        raise InputError("'x' is no array of numbers whose rows have one length; give one") from None
    if array.dtype.kind not in "fiu" or (np.isinf(array) if filled else ~np.isfinite(array)).any():
        raise InputError("'x' holds something else than finite numbers; give an array of these")
    return array


def _cut(steps: Any) -> Iterator[Any]:
    return (steps[begin : begin + _PIECE_STEPS] for begin in range(0, len(steps), _PIECE_STEPS))


def _gathered(events: Iterator[Any]) -> list[dict[str, Any]]:
    """The next events: as many as come in a moment, at least one unless there are no more."""
    until = time.monotonic() + _EVENT_SECONDS
    found: list[dict[str, Any]] = []
    for event in itertools.islice(events, _EVENTS):
        found.append(_plain(event))
        if time.monotonic() >= until:
            break
    return found


def _plain(event: Any) -> dict[str, Any]:
    return {"event": type(event).__name__, **{name: _data(value) for name, value in event._asdict().items()}}


def _data(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _data(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


async def _done(future: CallFuture) -> Any:
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.abandon()
        raise
