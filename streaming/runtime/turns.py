"""The queue of the calls of many streams: in order for each stream, oldest first among streams."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import asdict, dataclass, replace
from typing import Any

from numpy.typing import NDArray

from streaming.errors import BacklogError, StreamingError
from streaming.runtime import batch
from streaming.runtime.stream import Stream, Work


@dataclass
class BatcherMetrics:
    """Counts since a batcher was made.

    submitted, done, failed, cancelled, refused: calls; pending: calls that wait or run now; invokes: runs of the
    interpreter; rows: streams in all of them; capacity: rows that those invokes had, used or not; wait_seconds, the
    sum, and longest_wait: from the submission of a call to its first invoke.
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


class CallFuture(Future[Any]):
    """Future of a call. Attributes: `abandoned` is set when nobody waits for it any more."""

    abandoned = False

    def abandon(self) -> None:
        """Cancel the call, also between two of its invokes; unless it had finished, its stream is then as before."""
        self.abandoned = True
        self.cancel()


class Call:
    """One call of a stream: `start` makes its generator, which then waits for invokes of `size` steps of `values`.

    step: the input of `Stream.step`, where that is the call; None elsewhere.
    """

    def __init__(self, stream: Stream, start: Callable[[], Work], step: Any = None) -> None:
        self.stream = stream
        self.start = start
        self.step = step
        self.since = time.monotonic()
        self.future = CallFuture()
        self.work: Work | None = None
        self.before: tuple[Any, ...] = ()
        self.size = 0
        self.values: Sequence[NDArray[Any]] = ()

    @property
    def is_plain_step(self) -> bool:
        """Whether it is a `step` that `batch.step_streams` takes together with others, and that has not begun."""
        model = self.stream.model
        plain = model.metadata.state == "external" and not model.metadata.lead and model.recipe.fill is None
        return self.step is not None and self.work is None and plain


class Turns:
    """The pending calls; one thread, in `serve`, runs them.

    Streams with a call are in `_ready`, oldest first; their further calls are in `_later`. Nothing here refers to a
    model while no call is pending, so that a model which nobody needs is freed.

    between: called after each invoke with the seconds that it took.
    """

    def __init__(self, max_batch: int, max_wait: float, max_pending: int, between: Callable[[float], object]) -> None:
        self._between = between
        self._max_batch, self._max_wait, self._max_pending = max_batch, max_wait, max_pending
        self._changed = threading.Condition()
        self._ready: deque[Call] = deque()
        self._later: dict[Stream, deque[Call]] = {}
        # Streams of the last batch, by id, that have not come back yet.
        self._awaited: set[int] = set()
        self._metrics = BatcherMetrics()
        self._closed = False

    def metrics(self) -> BatcherMetrics:
        """The counts as they are now."""
        with self._changed:
            return replace(self._metrics)

    def put(self, call: Call) -> CallFuture:
        """Queue a call; see `StreamBatcher.submit`."""
        with self._changed:
            if self._closed:
                raise StreamingError("the batcher is closed; make another")
            counts = self._metrics
            if counts.pending >= self._max_pending:
                counts.refused += 1
                raise BacklogError(
                    f"{counts.pending} calls are pending, at most {self._max_pending} may be; "
                    "wait for earlier results, then submit again"
                )
            counts.submitted += 1
            counts.pending += 1
            later = self._later.get(call.stream)
            if later is not None:
                later.append(call)
            else:
                self._later[call.stream] = deque()
                self._enter(call)
        return call.future

    def close(self) -> None:
        """Refuse further calls; `serve` ends after the last one."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def serve(self) -> None:
        """Run calls until the queue is closed and empty."""
        while calls := self._gather():
            began = time.monotonic()
            self._round(calls)
            del calls  # while nothing is pending, nothing here refers to a stream
            self._between(time.monotonic() - began)

    def _round(self, calls: list[Call]) -> None:
        if len(calls) > 1 and all(call.is_plain_step for call in calls):
            self._step_all(calls)
            return
        pending = [call for call in calls if call.work is not None or self._start(call)]
        if pending:
            size = pending[0].size
            rest = [call for call in pending if call.size != size]
            with self._changed:  # what takes another signature than the oldest keeps its turn
                self._ready.extendleft(reversed(rest))
            # In one order whenever the same streams meet: their states then lie in that order already.
            self._run(sorted((call for call in pending if call.size == size), key=lambda call: id(call.stream)))

    def _step_all(self, calls: list[Call]) -> None:
        """Calls of `step` alone, which need no generators; where that fails, each goes the way of the others."""
        calls = [call for call in calls if self._begin(call)]
        # In one order whenever the same streams meet: their states then lie in that order already.
        calls.sort(key=lambda call: id(call.stream))
        if not calls:
            return
        streams = [call.stream for call in calls]
        model = streams[0].model
        with self._changed:
            self._awaited = set(map(id, streams))
        try:
            outputs = batch.step_streams(model, streams, [call.step for call in calls])
        except BaseException:
            for call in calls:
                if self._advance(call, None):
                    self._run([call])
            return
        with self._changed:
            batches = batch.batches_of(model.batch_sizes, len(calls))
            self._metrics.invokes += len(batches)
            self._metrics.rows += len(calls)
            self._metrics.capacity += sum(batches)
            for call in calls:
                self._leave(call, "done")
        for call, rows in zip(calls, outputs, strict=True):
            # Copies, so that who keeps the outputs of one stream does not keep those of all.
            copied = {name: part.copy() for name, part in rows.items()} if isinstance(rows, dict) else rows.copy()
            call.future.set_result(copied)

    def _gather(self) -> list[Call]:
        """The calls of the next invoke, once it is worth it; none at the end."""
        with self._changed:
            while not self._is_due():
                if self._closed:
                    return []
                self._changed.wait(self._patience())
            return [self._ready.popleft() for _ in range(min(len(self._ready), self._max_batch))]

    def _enter(self, call: Call) -> None:
        self._ready.append(call)
        self._awaited.discard(id(call.stream))
        # The first sets the time by which the thread wakes up anyway; those between need not wake it.
        if len(self._ready) == 1 or self._is_due():
            self._changed.notify()

    def _is_due(self) -> bool:
        if not self._ready:
            return False
        return self._closed or not self._awaited or len(self._ready) >= self._max_batch or not self._patience()

    def _patience(self) -> float | None:
        """Seconds for which the oldest call may still wait for others; None where there is no call."""
        return max(0.0, self._ready[0].since + self._max_wait - time.monotonic()) if self._ready else None

    def _start(self, call: Call) -> bool:
        """Bring a call to its first invoke; False where it has ended without one."""
        return self._begin(call) and self._advance(call, None)

    def _begin(self, call: Call) -> bool:
        """Count the wait of a call whose turn has come; False where it was cancelled before."""
        if not call.future.set_running_or_notify_cancel():
            self._leave(call, "cancelled")
            return False
        waited = time.monotonic() - call.since
        with self._changed:
            self._metrics.wait_seconds += waited
            self._metrics.longest_wait = max(self._metrics.longest_wait, waited)
        return True

    def _advance(self, call: Call, results: Sequence[NDArray[Any]] | None) -> bool:
        """Take a call to its next invoke, or to its first; False where it has ended."""
        if call.future.abandoned and call.stream.model.metadata.state == "external":
            self._fail(call, CancelledError(), "cancelled")
            return False
        try:
            if call.work is None:
                call.before = call.stream.snapshot()
                call.work = call.start()
            call.size, call.values = next(call.work) if results is None else call.work.send(results)
        except StopIteration as end:
            self._leave(call, "done")
            call.future.set_result(end.value)
            return False
        except BaseException as error:
            self._fail(call, error)
            return False
        return True

    def _run(self, calls: list[Call]) -> None:
        streams = [call.stream for call in calls]
        with self._changed:
            self._awaited = set(map(id, streams))
        try:
            rows, batches = batch.advance(streams[0].model, streams, [call.values for call in calls], calls[0].size)
        except BaseException as error:
            if len(calls) == 1:
                self._fail(calls[0], error)
            else:
                for call in calls:  # each alone, so that only those fail that have to
                    self._run([call])
            return
        with self._changed:
            self._metrics.invokes += len(batches)
            self._metrics.rows += len(calls)
            self._metrics.capacity += sum(batches)
        again = [call for call, results in zip(calls, rows, strict=True) if self._advance(call, results)]
        with self._changed:
            for call in again:
                self._enter(call)

    def _fail(self, call: Call, error: BaseException, count: str = "failed") -> None:
        if call.before:
            call.stream.go_back(call.before)
        self._leave(call, count)
        call.future.set_exception(error)

    def _leave(self, call: Call, count: str) -> None:
        with self._changed:
            setattr(self._metrics, count, getattr(self._metrics, count) + 1)
            self._metrics.pending -= 1
            later = self._later[call.stream]
            if later:
                self._enter(later.popleft())
            else:
                del self._later[call.stream]
