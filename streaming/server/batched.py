"""A model whose streams share invokes, for code that knows nothing of batchers: the sessions of tasks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from streaming.errors import StreamingError
from streaming.runtime.batcher import StreamBatcher
from streaming.runtime.model import StreamingModel
from streaming.runtime.outputs import Arrays
from streaming.runtime.stream import Stream


class Work(threading.local):
    """The client that the calling thread works for. Attributes: `abandoned` is set where that client has left."""

    abandoned: threading.Event | None = None

    def check(self) -> None:
        """Raises StreamingError where nobody waits for the work."""
        if self.abandoned is not None and self.abandoned.is_set():
            raise StreamingError("the client has left; its work is abandoned")


work = Work()


class BatchedStream(Stream):
    """A stream that waits for its turn in a batcher; each needs a thread of its own to share invokes with others."""

    def __init__(self, batcher: StreamBatcher, *, nan: str = "raise") -> None:
        super().__init__(batcher.model, nan=nan)
        self._batcher = batcher

    def step(self, x: Any) -> Arrays:
        """`Stream.step`, its invoke shared with other streams."""
        work.check()
        return self._batcher.step(self, x).result()

    def feed(self, x: Any) -> Arrays:
        """`Stream.feed`, its invokes shared with other streams."""
        work.check()
        return self._batcher.submit(self, x).result()

    def finish(self) -> Arrays:
        """`Stream.finish`, its invokes shared with other streams."""
        work.check()
        return self._batcher.finish(self).result()

    def encode(self, x: Any) -> None:
        """`Stream.encode` by the batcher's interpreter: threads of clients have none of their own."""
        work.check()
        self._batcher.call(self, super().encode, x).result()

    def another(self) -> Stream:
        """A fresh stream that shares as well."""
        return BatchedStream(self._batcher, nan=self._nan)

    def step_all(self, streams: Sequence[Stream], inputs: Sequence[Any]) -> list[Arrays]:
        """`Stream.step_all`, its invokes shared with other clients' streams."""
        work.check()
        steps = [self._batcher.step(stream, x) for stream, x in zip(streams, inputs, strict=True)]
        return [step.result() for step in steps]


class BatchedModel(StreamingModel):
    """A loaded model as it is, but for the streams it makes."""

    def __init__(self, batcher: StreamBatcher) -> None:
        self.__dict__.update(batcher.model.__dict__)
        self._shared = batcher

    def create_stream(self, *, nan: str = "raise") -> Stream:
        """A stream of the batcher's model."""
        return BatchedStream(self._shared, nan=nan)
