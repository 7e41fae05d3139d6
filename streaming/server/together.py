"""Work of many streams in lock step, in the thread of the event loop: features and invokes that they share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.runtime import batch
from streaming.runtime.audio import LogMel
from streaming.runtime.contract import ModelParts
from streaming.runtime.stream import Stream
from streaming.server.batched import directly
from streaming.server.pace import Pace

# Calls that are worked on in one turn of the loop, so that their answers are sent soon.
_AT_ONCE = 32


class _Call:
    """A generator that waits for what all share, and the future of what it returns."""

    def __init__(self, steps: int, start: Callable[[], Generator[Any, Any, Any]], stream: Stream | None) -> None:
        self.steps, self._start, self.stream = steps, start, stream
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.work: Generator[Any, Any, Any] | None = None
        self.wants: Any = None
        self._before = stream.snapshot() if stream is not None else None

    def advance(self, given: Any = None) -> bool:
        """Go on to the next wish; False at the end."""
        try:
            if self.work is None:
                self.work = self._start()
                self.wants = next(self.work)
            else:
                self.wants = self.work.send(given)
        except StopIteration as end:
            if not self.future.done():
                self.future.set_result(end.value)
            return False
        except Exception as error:
            self.fail(error)
            return False
        return True

    def fail(self, error: Exception) -> None:
        """End with an error, the stream as it was."""
        if self.stream is not None and self._before is not None:
            self.stream.go_back(self._before)
        if not self.future.done():
            self.future.set_exception(error)


class Together:
    """Gathers the calls that come in one turn of the loop, and does them step by step side by side.

    Args:
        model: whose streams share invokes.
        features: what sessions of audio share; None where there are none.
        pace: is told what the calls cost.
        max_batch: streams in one invoke at most.
    """

    def __init__(self, model: ModelParts, features: LogMel | None, pace: Pace, max_batch: int) -> None:
        self._model, self._features, self._pace, self._max_batch = model, features, pace, max_batch
        self._calls: list[_Call] = []
        self.invokes = self.rows = self.capacity = 0

    def call(
        self, steps: int, start: Callable[[], Generator[Any, Any, Any]], stream: Stream | None = None
    ) -> asyncio.Future[Any]:
        """The result of a generator of so many steps.

        It yields frames (n, frame_length) and is sent their features, or, for a `stream`, what `Stream.feeding` yields.
        """
        call = _Call(steps, start, stream)
        if not self._calls:
            asyncio.get_running_loop().call_soon(self._flush)
        self._calls.append(call)
        return call.future

    def _flush(self) -> None:
        calls, self._calls = self._calls[:_AT_ONCE], self._calls[_AT_ONCE:]
        if self._calls:
            asyncio.get_running_loop().call_soon(self._flush)
        began = time.perf_counter()
        directly(self._work, calls)
        self._pace.count(sum(call.steps for call in calls), time.perf_counter() - began)

    def _work(self, calls: list[_Call]) -> None:
        waiting = [call for call in calls if call.advance()]
        while waiting:
            waiting = self._step(waiting)

    def _step(self, waiting: list[_Call]) -> list[_Call]:
        """Give each call what it waits for; those that wait again."""
        heard = [call for call in waiting if call.stream is None]
        again = self._transform(heard) if heard else []
        stepped = [call for call in waiting if call.stream is not None]
        for size in {call.wants[0] for call in stepped}:
            same = [call for call in stepped if call.wants[0] == size]
            # In one order whenever the same streams meet: their states then lie in that order already.
            same.sort(key=lambda call: id(call.stream))
            for begin in range(0, len(same), self._max_batch):
                again += self._invoke(same[begin : begin + self._max_batch], size)
        return again

    def _transform(self, calls: Sequence[_Call]) -> list[_Call]:
        assert self._features is not None
        frames: list[NDArray[Any]] = [call.wants for call in calls]
        rows = self._features.features(np.concatenate(frames))
        ends = np.cumsum([len(part) for part in frames])[:-1]
        return [call for call, part in zip(calls, np.split(rows, ends), strict=True) if call.advance(part)]

    def _invoke(self, calls: Sequence[_Call], size: int) -> list[_Call]:
        streams = [call.stream for call in calls if call.stream is not None]
        try:
            results, batches = batch.advance(self._model, streams, [call.wants[1] for call in calls], size)
        except Exception as error:
            if len(calls) == 1:
                calls[0].fail(error)
                return []
            return [each for call in calls for each in self._invoke([call], size)]
        self.invokes += len(batches)
        self.rows += len(calls)
        self.capacity += sum(batches)
        return [call for call, part in zip(calls, results, strict=True) if call.advance(part)]
