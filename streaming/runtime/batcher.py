"""Streams that come and go, gathered into shared invokes by one thread."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from streaming.errors import InputError, StreamingError
from streaming.runtime.contract import ModelParts
from streaming.runtime.stream import Stream, Work
from streaming.runtime.turns import BatcherMetrics, Call, CallFuture, Turns


class StreamBatcher:
    """Gathers streams that have data ready, pads them to a batch signature, invokes once, and distributes the rows.

    One thread runs the interpreter; all methods may be called from any thread, and from asyncio by
    `await asyncio.wrap_future(batcher.submit(stream, x))`. The calls of one stream run in order; use a stream directly
    only while none of its calls is pending. Calls take turns, one invoke each, oldest first, so that a long call delays
    the others by no more than its share. A call that fails, is cancelled before its turn, or is abandoned between two
    invokes (`CallFuture.abandon`) leaves its stream as it was and does not affect the others.

    Args:
        model: its streams are taken.
        max_batch: streams in one invoke at most; None: as many as the largest batch signature takes.
        max_wait: seconds for which the oldest call may wait for others to share its invoke. Calls do not wait if the
            batch is full, or if all streams of the last batch have called again.
        max_pending: calls that may wait or run at once.
        between: called in the batcher's thread after each invoke, with the seconds that it took: a service that has
            other work to do may sleep in it.

    Raises:
        InputError: an option is out of range.
    """

    def __init__(
        self,
        model: ModelParts,
        max_batch: int | None = None,
        max_wait: float = 0.002,
        max_pending: int = 4096,
        between: Callable[[float], object] = lambda _: None,
    ) -> None:
        for name, value in (("max_batch", max_batch), ("max_pending", max_pending)):
            if value is not None and (type(value) is not int or value < 1):
                raise InputError(f"{name} is {value!r}, expected a whole number, 1 or more")
        if not isinstance(max_wait, int | float) or not 0 <= max_wait < float("inf"):
            raise InputError(f"max_wait is {max_wait!r}, expected seconds, 0 or more")
        self.model = model
        self._process = os.getpid()
        self._turns = Turns(min(max_batch or 2**31, model.batch_sizes[-1]), max_wait, max_pending, between)
        thread = threading.Thread(target=self._turns.serve, name="streaming-batcher", daemon=True)
        thread.start()
        # Also where nobody calls close(): the thread does not know this object, and ends with it or the process.
        self._finish = weakref.finalize(self, _stop, self._turns, thread, self._process)

    def submit(self, stream: Stream, x: Any) -> CallFuture:
        """`stream.feed(x)` in its turn; returns a Future of the result or error. Arrays are copied.

        Raises:
            BacklogError: `max_pending` calls are pending.
            StreamingError: the batcher is closed, or the stream belongs to another model.
        """
        given = _private(x)
        return self._put(stream, lambda: stream.feeding(stream.read(given)))

    def step(self, stream: Stream, x: Any) -> CallFuture:
        """`stream.step(x)` in its turn; otherwise as `submit`."""
        given = _private(x)
        return self._put(stream, lambda: stream.stepping(stream.read(given, stream.model.chunk)), given)

    def finish(self, stream: Stream) -> CallFuture:
        """`stream.finish()` in its turn; otherwise as `submit`."""
        return self._put(stream, stream.finishing)

    def call(self, stream: Stream, function: Callable[..., Any], *args: Any) -> CallFuture:
        """`function(*args)` in the stream's turn, for calls without an invoke: `stream.reset`, `stream.save`."""
        return self._put(stream, lambda: _alone(function, args))

    def metrics(self) -> BatcherMetrics:
        """The counts as they are now."""
        return self._turns.metrics()

    @property
    def is_here(self) -> bool:
        """Whether this process made the batcher; its thread does not survive a fork."""
        return os.getpid() == self._process

    def close(self) -> None:
        """Run what is pending, then refuse every call; harmless when repeated."""
        self._finish()

    def __enter__(self) -> StreamBatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, stream: Stream, start: Callable[[], Work], step: Any = None) -> CallFuture:
        if stream.model is not self.model:
            raise StreamingError("the stream belongs to another model; use a batcher of its own model")
        if not self.is_here:
            raise StreamingError("the batcher was made in another process; make one in each process")
        return self._turns.put(Call(stream, start, step))


def _private(x: Any) -> Any:
    if isinstance(x, Mapping):
        return {name: _private(value) for name, value in x.items()}
    return x.copy() if isinstance(x, np.ndarray) else x


def _alone(function: Callable[..., Any], args: tuple[Any, ...]) -> Work:
    return function(*args)
    yield  # what makes it the work of a call, without an invoke


def _stop(turns: Turns, thread: threading.Thread, process: int) -> None:
    if os.getpid() == process:  # a forked child has neither the thread nor a sound lock
        turns.close()
        if thread is not threading.current_thread():
            thread.join()
