"""A model whose streams share invokes, for code that knows nothing of batchers: the sessions of tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from streaming.errors import StreamingError
from streaming.runtime.batcher import StreamBatcher
from streaming.runtime.model import StreamingModel
from streaming.runtime.outputs import Arrays
from streaming.runtime.stream import Stream
from streaming.runtime.turns import CallFuture


class Errand:
    """Work of a thread for one client, who may leave before it is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._has_left = False
        self._calls: Sequence[CallFuture] = ()

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in this thread; the streams in it know whom they work for."""
        _thread.errand = self
        try:
            self.check()
            return function(*args)
        finally:
            _thread.errand = None

    def check(self) -> None:
        """Raises StreamingError where nobody waits for the work."""
        if self._has_left:
            raise StreamingError("the client has left; its work is abandoned")

    def wait(self, calls: Sequence[CallFuture]) -> list[Arrays]:
        """The results of calls, which end where the client leaves."""
        with self._lock:
            self._calls = calls
        if self._has_left:
            self.abandon()
        return [call.result() for call in calls]

    def abandon(self) -> None:
        """The client has left: end what runs for it."""
        self._has_left = True
        with self._lock:
            calls = self._calls
        for call in calls:
            call.abandon()


class _Thread(threading.local):
    """The errand of the calling thread, and whether its streams run their invokes themselves."""

    errand: Errand | None = None
    is_direct = False


_thread = _Thread()


def directly(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function whose streams run their invokes in this thread, without the batcher: for cheap work."""
    _thread.is_direct = True
    try:
        return function(*args)
    finally:
        _thread.is_direct = False


class BatchedStream(Stream):
    """A stream that waits for its turn in a batcher; each needs a thread of its own to share invokes with others.

    Within `directly` it waits for nobody.
    """

    def __init__(self, batcher: StreamBatcher, *, nan: str = "raise") -> None:
        super().__init__(batcher.model, nan=nan)
        self._batcher = batcher

    def step(self, x: Any) -> Arrays:
        """`Stream.step`, its invoke shared with other streams."""
        if _thread.is_direct:
            return super().step(x)
        return self._wait(lambda: self._batcher.step(self, x))

    def feed(self, x: Any) -> Arrays:
        """`Stream.feed`, its invokes shared with other streams."""
        if _thread.is_direct:
            return super().feed(x)
        return self._wait(lambda: self._batcher.submit(self, x))

    def finish(self) -> Arrays:
        """`Stream.finish`, its invokes shared with other streams."""
        if _thread.is_direct:
            return super().finish()
        return self._wait(lambda: self._batcher.finish(self))

    def encode(self, x: Any) -> None:
        """`Stream.encode` by the batcher's interpreter: threads of clients have none of their own."""
        encode = super().encode
        if _thread.is_direct:
            encode(x)
        else:
            self._wait(lambda: self._batcher.call(self, encode, x))

    def another(self) -> Stream:
        """A fresh stream that shares as well."""
        return BatchedStream(self._batcher, nan=self._nan)

    def step_all(self, streams: Sequence[Stream], inputs: Sequence[Any]) -> list[Arrays]:
        """`Stream.step_all`, its invokes shared with other clients' streams."""
        if _thread.is_direct:
            return super().step_all(streams, inputs)
        errand = _thread.errand or Errand()
        errand.check()
        return errand.wait([self._batcher.step(stream, x) for stream, x in zip(streams, inputs, strict=True)])

    def _wait(self, submit: Callable[[], CallFuture]) -> Any:
        errand = _thread.errand or Errand()
        errand.check()
        return errand.wait([submit()])[0]


class BatchedModel(StreamingModel):
    """A loaded model as it is, but for the streams it makes."""

    def __init__(self, batcher: StreamBatcher) -> None:
        self.__dict__.update(batcher.model.__dict__)
        self._shared = batcher

    def create_stream(self, *, nan: str = "raise") -> Stream:
        """A stream of the batcher's model."""
        return BatchedStream(self._shared, nan=nan)
