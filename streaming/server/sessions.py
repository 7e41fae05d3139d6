"""Sessions: apply a client's messages to a stream, as arrays for any model or as the raw input of its task."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import Any, Protocol

import numpy as np

from streaming.errors import InputError
from streaming.runtime.batcher import StreamBatcher
from streaming.runtime.tasks import Session as TaskSession
from streaming.runtime.tasks import Task
from streaming.runtime.turns import CallFuture
from streaming.server.batched import Errand
from streaming.server.pieces import Pieces, cut, cut_arrays, cut_text, whole

# Events of one answer that are gathered, and for how long.
_EVENTS, _EVENT_SECONDS = 64, 0.05

# Fields that a task takes its steps in; others take arrays.
_FIELDS: dict[str, tuple[str, ...]] = {"words": ("text", "words"), "text": ("text",)}

# Fields of an output message, and whether it is the last of its answer.
Answer = tuple[dict[str, Any], bool]


class Session(Protocol):
    """One sequence of one client. A call that fails leaves it as it was.

    Attributes:
        fields: of a `feed` message, in which it takes steps.
        position: how many steps (words, samples, rows) it has taken.
    """

    fields: tuple[str, ...]

    @property
    def position(self) -> int: ...

    def read(self, body: dict[str, Any]) -> Pieces:
        """The pieces of a `feed` message, all checked before the first is taken; raises InputError."""

    def read_binary(self, data: bytes) -> Pieces:
        """The same for a binary message, float32 in little-endian."""

    def feed(self, pieces: Pieces) -> AsyncGenerator[Answer, None]:
        """Take pieces, one after the other."""

    def finish(self) -> AsyncGenerator[Answer, None]:
        """End the sequence."""

    async def encode(self, x: Any) -> None:
        """Take the whole input that comes before the first step."""

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

    def __init__(self, batcher: StreamBatcher, binary: bool) -> None:
        self._batcher, self._binary = batcher, binary
        self._stream = batcher.model.create_stream()
        self._inputs = batcher.model.metadata.inputs

    @property
    def position(self) -> int:
        return self._stream.position

    def read(self, body: dict[str, Any]) -> Pieces:
        arrays = [array[0] for array in self._batcher.model.inputs.read(body["x"], None, True)]
        return cut_arrays(arrays, self._batcher.model.metadata)

    def read_binary(self, data: bytes) -> Pieces:
        info = self._inputs[0]
        size = math.prod(info.shape)
        if len(self._inputs) > 1 or not info.dtype.startswith("float"):
            raise InputError("binary messages are for models with one input of floats; send JSON")
        if len(data) % (4 * size):
            raise InputError(f"got {len(data)} bytes, expected steps of {size} float32 ({4 * size} bytes) each")
        return self.read({"x": np.frombuffer(data, "<f4").reshape(-1, *info.shape)})

    async def feed(self, pieces: Pieces) -> AsyncGenerator[Answer, None]:
        piece = next(pieces)
        while piece is not None:
            rows = await _done(self._batcher.submit(self._stream, piece))
            piece = next(pieces, None)
            yield self._answer(rows), piece is None

    async def finish(self) -> AsyncGenerator[Answer, None]:
        yield self._answer(await _done(self._batcher.finish(self._stream))), True

    async def encode(self, x: Any) -> None:
        await _done(self._batcher.call(self._stream, self._stream.encode, x))

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


class EventSession:
    """Session of a task: raw input in, events out. The task's code runs in threads, where it waits for its invokes.

    Args:
        task: of a `BatchedModel`.
        executor: runs it.
    """

    def __init__(self, task: Task, executor: Executor) -> None:
        self._task, self._executor = task, executor
        self._session: TaskSession = task.session()
        self._position = 0
        self.fields: tuple[str, ...] = _FIELDS.get(task.takes, ("x",))

    @property
    def position(self) -> int:
        return self._position

    def read(self, body: dict[str, Any]) -> Pieces:
        if self._task.takes in ("words", "text"):
            return self._texts(body)
        # Where the task fills missing values, null is one.
        filled = getattr(getattr(self._task, "reader", None), "policy", "refuse") != "refuse"
        try:
            array = np.atleast_1d(np.asarray(body["x"], np.float64 if filled else None))
        except (ValueError, TypeError):
            raise InputError("'x' is no array of numbers whose rows have one length; give one") from None
        if array.dtype.kind not in "fiu" or (np.isinf(array) if filled else ~np.isfinite(array)).any():
            raise InputError("'x' holds something else than finite numbers; give an array of these")
        return whole(array) if self._task.takes == "array" else cut(array, self._task.takes)

    def read_binary(self, data: bytes) -> Pieces:
        if self._task.takes != "audio":
            raise InputError(f"binary messages are for audio, this model takes {self._task.takes}; send JSON")
        if len(data) % 4:
            raise InputError(f"got {len(data)} bytes, expected samples of float32, 4 bytes each")
        return self.read({"x": np.frombuffer(data, "<f4")})

    async def feed(self, pieces: Pieces) -> AsyncGenerator[Answer, None]:
        # A message without steps gets an answer as well.
        piece: Any = next(pieces, [])
        while piece is not None:
            following = await self._threaded(next, pieces, None) if pieces.is_slow else next(pieces, None)
            size = len(piece) if self._task.takes in ("words", "rows", "audio") else 1
            async for answer in self._answers(following is None, size, self._session.feed, piece):
                yield answer
            piece = following

    async def finish(self) -> AsyncGenerator[Answer, None]:
        async for answer in self._answers(True, -self._position, self._session.finish):
            yield answer

    async def encode(self, x: Any) -> None:
        raise InputError(f"a {self._task.takes} task has no 'encode' message; send a 'feed'")

    async def save(self) -> tuple[dict[str, Any], list[bytes]]:
        return {"position": self._position}, [await self._threaded(self._session.save)]

    def restore(self, context: dict[str, Any], blobs: list[bytes]) -> None:
        self._session.restore(blobs[0])
        self._position = context["position"]

    async def _answers(
        self, last: bool, steps: int, call: Callable[..., Iterable[Any]], *args: Any
    ) -> AsyncGenerator[Answer, None]:
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
        """With how many words the vocabulary lacked so far, where there is one."""
        unknown = getattr(self._session, "unknown", None)
        return {"events": events} if unknown is None else {"events": events, "unknown": unknown}

    async def _threaded(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run task code in a thread; where the client leaves, its next step ends it."""
        errand = Errand()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, errand.run, function, *args)
        except asyncio.CancelledError:
            errand.abandon()
            raise

    def _texts(self, body: dict[str, Any]) -> Pieces:
        name, given = next(iter(body.items()))
        if name == "text":
            if not isinstance(given, str):
                raise InputError(f"'text' is {type(given).__name__}, expected a string")
            return whole(given) if self._task.takes == "text" else cut_text(given)
        if not isinstance(given, list) or not all(isinstance(word, str) and word for word in given):
            raise InputError("'words' is no list of strings that are not empty; give the words of a sentence in order")
        return cut(given, "words")


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
