"""Streams that come and go, gathered into shared invokes by one thread."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streaming.errors import BacklogError, InputError, StreamingError
from streaming.runtime import batch
from streaming.runtime.stream import Arrays, Stream, Work

if TYPE_CHECKING:
    from streaming.runtime.model import StreamingModel


@dataclass
class BatcherMetrics:
    """Counts since a batcher was made.

    submitted, done, failed, cancelled, refused: calls; pending: calls that wait or run now; invokes: runs of the
    interpreter; rows: streams in all of them; capacity: rows that those invokes had, used or not; wait_seconds and
    longest_wait: from the submission of a call to its first invoke.
    """

    submitted: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    pending: int = 0
    invokes: int = 0
    rows: int = 0
    capacity: int = 0
    wait_seconds: float = 0.0
    longest_wait: float = 0.0

    @property
    def fill(self) -> float:
        """The share of the rows invoked that streams were in, 0 before the first."""
        return self.rows / self.capacity if self.capacity else 0.0

    def to_json(self) -> dict[str, float]:
        """All counts and `fill`, by name."""
        return {**asdict(self), "fill": self.fill}


class StreamBatcher:
    """Gathers whatever streams have data ready, pads to a batch signature, invokes once and scatters.

    One thread runs the interpreter; all methods may be called from any thread, and from asyncio by
    `await asyncio.wrap_future(batcher.submit(stream, x))`. The calls of one stream run in order; use a stream directly
    only while none of its calls is pending. Calls of any length take turns, one invoke each, oldest first, so that a
    long one delays the others by no more than its share. A call that fails leaves its stream as it was, and all
    others alone.

    Args:
        model: streams of this model are taken.
        max_batch: streams in one invoke at most; None: the largest batch signature.
        max_wait: seconds for which the oldest call may wait for others to share its invoke. There is no waiting while
            a batch is full, or when all streams of the last one are ready again.
        max_pending: calls that may wait or run at once.

    Raises:
        InputError: an option is out of range.
    """

    def __init__(
        self,
        model: StreamingModel,
        max_batch: int | None = None,
        max_wait: float = 0.002,
        max_pending: int = 4096,
    ) -> None:
        for name, value, low in (("max_batch", max_batch, 1), ("max_pending", max_pending, 1)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < low):
                raise InputError(f"{name} is {value!r}, expected a whole number, {low} or more")
        if not isinstance(max_wait, int | float) or not 0 <= max_wait < float("inf"):
            raise InputError(f"max_wait is {max_wait!r}, expected seconds, 0 or more")
        self.model = model
        self._queue = _Queue(model, max_batch or model.batch_sizes[-1], float(max_wait), max_pending)
        thread = threading.Thread(target=self._queue.serve, name="streaming-batcher", daemon=True)
        thread.start()
        # Also where nobody calls close(): the thread knows the queue alone, and ends with this object or the process.
        self._finish = weakref.finalize(self, _stop, self._queue, thread)

    def submit(self, stream: Stream, x: Any) -> Future[Arrays]:
        """`stream.feed(x)` in its turn: a Future of what that returns or raises. `x` is copied.

        Raises:
            BacklogError: `max_pending` calls are pending.
            StreamingError: the batcher is closed, or the stream belongs to another model.
        """
        self._check(stream)
        try:
            arrays = [np.array(array) for array in stream.read_feed(x)]
        except StreamingError as error:
            return self._queue.fail(error)
        return self._queue.put(stream, lambda: stream.feeding(arrays))

    def finish(self, stream: Stream) -> Future[Arrays]:
        """`stream.finish()` in its turn; otherwise as `submit`."""
        self._check(stream)
        return self._queue.put(stream, stream.finishing)

    def call(self, stream: Stream, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """`function(*args)` in the stream's turn, for what takes no shared invoke: `call(s, s.reset)`, `s.save`."""
        self._check(stream)
        return self._queue.put(stream, lambda: _single(function, args))

    def metrics(self) -> BatcherMetrics:
        """The counts as they are now."""
        return self._queue.metrics()

    def close(self) -> None:
        """Run what is pending, then refuse every call; harmless when repeated."""
        self._finish()

    def __enter__(self) -> StreamBatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, stream: Stream) -> None:
        if stream.model is not self.model:
            raise StreamingError("the stream belongs to another model; use a batcher of its own model")


def _single(function: Callable[..., Any], args: tuple[Any, ...]) -> Work:
    return function(*args)
    yield


def _stop(queue: _Queue, thread: threading.Thread) -> None:
    queue.close()
    if queue.is_here() and thread is not threading.current_thread():
        thread.join()


@dataclass(eq=False)
class _Call:
    """One call of a stream: not started while `work` is None, then waiting for the invoke of `size` steps."""

    stream: Stream
    start: Callable[[], Work]
    since: float
    future: Future[Any] = field(default_factory=Future)
    work: Work | None = None
    before: tuple[Any, ...] = ()
    size: int = 0
    values: Sequence[np.ndarray] = ()


class _Queue:
    """The calls of all streams; the thread that runs `serve` works them off.

    Streams with a call are in `_ready`, in the order of their turns; their further calls are in `_later`.
    """

    def __init__(self, model: StreamingModel, max_batch: int, max_wait: float, max_pending: int) -> None:
        self._model, self._max_batch, self._max_wait, self._max_pending = model, max_batch, max_wait, max_pending
        self._changed = threading.Condition()
        self._ready: deque[_Call] = deque()
        self._later: dict[Stream, deque[_Call]] = {}
        self._last: set[int] = set()
        self._metrics = BatcherMetrics()
        self._closed = False
        self._process = os.getpid()

    def is_here(self) -> bool:
        """Whether this is the process whose thread serves; threads do not survive a fork."""
        return os.getpid() == self._process

    def metrics(self) -> BatcherMetrics:
        with self._changed:
            return replace(self._metrics)

    def put(self, stream: Stream, start: Callable[[], Work]) -> Future[Any]:
        call = _Call(stream, start, time.monotonic())
        if not self.is_here():
            raise StreamingError("the batcher was made in another process; make one in each process")
        with self._changed:
            self._admit()
            self._metrics.pending += 1
            if stream in self._later:
                self._later[stream].append(call)
            else:
                self._later[stream] = deque()
                self._ready.append(call)
                self._changed.notify()
        return call.future

    def fail(self, error: StreamingError) -> Future[Any]:
        """A future that has failed already."""
        with self._changed:
            self._admit()
            self._metrics.failed += 1
        future: Future[Any] = Future()
        future.set_exception(error)
        return future

    def _admit(self) -> None:
        if self._closed:
            raise StreamingError("the batcher is closed; make another")
        if self._metrics.pending >= self._max_pending:
            self._metrics.refused += 1
            raise BacklogError(
                f"{self._metrics.pending} calls are pending, at most {self._max_pending} may be; "
                "wait for earlier results, then submit again"
            )
        self._metrics.submitted += 1

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def serve(self) -> None:
        """Work calls off until the queue is closed and empty."""
        while calls := self._gather():
            started = [call for call in calls if call.work or self._start(call)]
            # What takes other signatures than the oldest goes back to the front: it keeps its turn.
            turn = [call for call in started if call.size == started[0].size] if started else []
            with self._changed:
                self._ready.extendleft(reversed([call for call in started if call.size != started[0].size]))
            if turn:
                self._run(turn)

    def _gather(self) -> list[_Call]:
        """The calls of the next invoke, once they are worth it; none at the end."""
        with self._changed:
            while not self._is_due():
                if self._closed and not self._ready:
                    return []
                self._changed.wait(self._patience())
            return [self._ready.popleft() for _ in range(min(len(self._ready), self._max_batch))]

    def _is_due(self) -> bool:
        if not self._ready:
            return False
        if self._closed or len(self._ready) >= self._max_batch or self._patience() <= 0:
            return True
        return self._last <= {id(call.stream) for call in self._ready}

    def _patience(self) -> float | None:
        return self._ready[0].since + self._max_wait - time.monotonic() if self._ready else None

    def _start(self, call: _Call) -> bool:
        """Bring a call to its first invoke; False where it needs none."""
        if not call.future.set_running_or_notify_cancel():
            self._leave(call, "cancelled")
            return False
        waited = time.monotonic() - call.since
        with self._changed:
            self._metrics.wait_seconds += waited
            self._metrics.longest_wait = max(self._metrics.longest_wait, waited)
        call.before, call.work = call.stream.snapshot(), call.start()
        return self._advance(call, None)

    def _advance(self, call: _Call, results: Sequence[np.ndarray] | None) -> bool:
        """Take a call to its next invoke; False where it has ended."""
        assert call.work is not None
        try:
            call.size, call.values = next(call.work) if results is None else call.work.send(results)
        except StopIteration as end:
            self._leave(call, "done")
            call.future.set_result(end.value)
            return False
        except BaseException as error:
            self._fail(call, error)
            return False
        return True

    def _run(self, calls: list[_Call]) -> None:
        self._last = {id(call.stream) for call in calls}
        try:
            rows, capacity = batch.advance(
                self._model, [call.stream for call in calls], [call.values for call in calls], calls[0].size
            )
        except BaseException as error:
            for call in calls:
                self._fail(call, error)
            return
        with self._changed:
            self._metrics.invokes += len(capacity)
            self._metrics.rows += len(calls)
            self._metrics.capacity += sum(capacity)
        again = [call for call, results in zip(calls, rows, strict=True) if self._advance(call, results)]
        with self._changed:
            self._ready.extend(again)

    def _fail(self, call: _Call, error: BaseException) -> None:
        call.stream.go_back(call.before)
        self._leave(call, "failed")
        call.future.set_exception(error)

    def _leave(self, call: _Call, count: str) -> None:
        with self._changed:
            setattr(self._metrics, count, getattr(self._metrics, count) + 1)
            self._metrics.pending -= 1
            later = self._later[call.stream]
            if later:
                self._ready.append(later.popleft())
            else:
                del self._later[call.stream]
