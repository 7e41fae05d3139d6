"""Streams in an Apache Beam pipeline: one for each key, its state carried by the runner (the extra `beam`).

(key, steps) with event timestamps | StreamInference("model.tflite") -> (key, Result(time, y))
"""

# ruff: noqa: B008 - a DoFn names its states and timers in defaults
from __future__ import annotations

import functools
import math
import os
import struct
import tempfile
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam import coders
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Duration, Timestamp

from streaming.errors import InputError
from streaming.runtime.model import StreamingModel, load

_REJECTS = "rejects"
_COUNT = struct.Struct("<q")
_loading = threading.Lock()


class Result(NamedTuple):
    """Outputs of a stream for the steps of one element.

    time: the event time of the element, in seconds; for the rows of `finish`, that of the last element.
    y: as `Stream.feed` returns it, (m, *features) or a dict by name.
    """

    time: float
    y: Any


class Reject(NamedTuple):
    """A rejected element: its event time in seconds, its input, and the reason in one line."""

    time: float
    x: Any
    reason: str


class StreamInference(beam.PTransform[Any, Any]):
    """Feeds the elements of each key, in the order of their event times, to a stream of that key.

    The stream is saved in Beam's state, so that any runner moves, checkpoints and recovers it; the model is loaded
    once in each worker process. In windows other than the global one each window of a key is a sequence of its own.

    Elements may come in any order: each is held back until the watermark is `allowed_lateness` seconds past it, and
    the outputs are those of one stream that is fed in order. An element that comes after a later one was fed is
    rejected, and counted in `streaming/late`. Elements of equal event time are fed in an order that is not defined.

    Outputs are stamped with the time of their release, so that they are never late themselves; `Result.time` is that
    of the element.

    Args:
        model: the file, on a path that all workers can read, or that Beam's file systems can (gs://, s3://, hdfs://).
        allowed_lateness: seconds behind the watermark; 0 trusts it.
        max_buffer: elements that a key may hold back. Where there are more, the oldest is fed at once.
        finish: call `finish` at the end of the window (for the global window, of the input), which gives the outputs
            that the delay held back.
        every: seconds of event time for which releases are gathered; less work for the runner, more delay.
        runtime, num_threads: as for `streaming.load`.

    Raises:
        InputError: an option is out of range. In the pipeline: an element is wrong; see `with_rejects`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        allowed_lateness: float = 0.0,
        max_buffer: int = 1000,
        finish: bool = True,
        every: float = 0.0,
        runtime: str = "auto",
        num_threads: int = 1,
    ) -> None:
        super().__init__()
        for name, value, low in (("allowed_lateness", allowed_lateness, 0), ("every", every, 0)):
            if not low <= value < float("inf"):
                raise InputError(f"{name} is {value!r}, expected seconds, {low} or more")
        if not isinstance(max_buffer, int) or max_buffer < 1:
            raise InputError(f"max_buffer is {max_buffer!r}, expected a whole number, 1 or more")
        self._options = (allowed_lateness, every, max_buffer, finish, (os.fspath(model), runtime, num_threads))
        self._has_rejects = False

    def with_rejects(self) -> StreamInference:
        """Give two collections: the outputs, and (key, Reject) of elements that were late or no input of the model.

        Without this, late elements are dropped and counted, and wrong ones fail the pipeline.
        """
        self._has_rejects = True
        return self

    def expand(self, pcoll: PCollection[Any]) -> Any:
        function = _Streaming(*self._options, self._has_rejects)
        results = pcoll | beam.ParDo(function).with_outputs(_REJECTS, main="outputs")
        return (results["outputs"], results[_REJECTS]) if self._has_rejects else results["outputs"]


@functools.lru_cache(maxsize=4)
def _loaded(path: str, runtime: str, num_threads: int) -> StreamingModel:
    if "://" not in path:
        return load(path, runtime, num_threads)
    with tempfile.TemporaryDirectory() as folder, FileSystems.open(path) as source:
        local = os.path.join(folder, "model.tflite")
        with open(local, "wb") as target:
            target.write(source.read())
        return load(local, runtime, num_threads)


class _Streaming(beam.DoFn):
    STREAM = ReadModifyWriteStateSpec("stream", coders.BytesCoder())
    BUFFER = BagStateSpec("buffer", coders.TupleCoder((coders.TimestampCoder(), coders.BytesCoder())))
    # The time of the last element fed, how many are held back, and when the next is due.
    MARK = ReadModifyWriteStateSpec(
        "mark", coders.TupleCoder((coders.TimestampCoder(), coders.VarIntCoder(), coders.TimestampCoder()))
    )
    RELEASE = TimerSpec("release", TimeDomain.WATERMARK)
    END = TimerSpec("end", TimeDomain.WATERMARK)

    def __init__(
        self,
        lateness: float,
        every: float,
        max_buffer: int,
        finish: bool,
        source: tuple[str, str, int],
        has_rejects: bool,
    ) -> None:
        self._lateness, self._every = Duration.of(lateness), Duration.of(every)
        self._max_buffer, self._finish, self._source, self._has_rejects = max_buffer, finish, source, has_rejects
        self._late = Metrics.counter("streaming", "late")
        self._wrong = Metrics.counter("streaming", "wrong")

    def setup(self) -> None:
        with _loading:
            self._model = _loaded(*self._source)

    def process(
        self,
        element: tuple[Any, Any],
        time: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
        stream: Any = beam.DoFn.StateParam(STREAM),
        buffer: Any = beam.DoFn.StateParam(BUFFER),
        mark: Any = beam.DoFn.StateParam(MARK),
        release: Any = beam.DoFn.TimerParam(RELEASE),
        end: Any = beam.DoFn.TimerParam(END),
    ) -> Iterator[Any]:
        key, x = element
        fed, held, following = mark.read() or (MIN_TIMESTAMP, 0, MAX_TIMESTAMP)
        if time < fed:
            self._late.inc()
            yield from self._rejected(key, time, x, f"came after an element of {_seconds(fed)} was fed")
            return
        try:
            data = _packed(self._model, x)
        except InputError as error:
            self._wrong.inc()
            if not self._has_rejects:
                raise
            yield from self._rejected(key, time, x, str(error))
            return
        buffer.add((time, data))
        held += 1
        if held > self._max_buffer:
            entries = _sorted(buffer)
            yield from self._feed(key, entries[:1], stream)
            fed, held = entries[0][0], _put_back(buffer, entries[1:])
        due = self._due(time)
        last = window.max_timestamp()
        end.set(last)
        if due < min(following, last):
            following = due
            release.set(due)
        mark.write((fed, held, following))

    @on_timer(RELEASE)
    def on_release(
        self,
        key: Any = beam.DoFn.KeyParam,
        now: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
        stream: Any = beam.DoFn.StateParam(STREAM),
        buffer: Any = beam.DoFn.StateParam(BUFFER),
        mark: Any = beam.DoFn.StateParam(MARK),
        release: Any = beam.DoFn.TimerParam(RELEASE),
    ) -> Iterator[Any]:
        """Feed what is due."""
        fed, _, _ = mark.read() or (MIN_TIMESTAMP, 0, MAX_TIMESTAMP)
        entries = _sorted(buffer)
        count = sum(self._due(time) <= now for time, _ in entries)
        yield from self._feed(key, entries[:count], stream)
        following, held = MAX_TIMESTAMP, _put_back(buffer, entries[count:])
        if held and self._due(entries[count][0]) < window.max_timestamp():
            following = self._due(entries[count][0])
            release.set(following)
        mark.write((entries[count - 1][0] if count else fed, held, following))

    @on_timer(END)
    def on_end(
        self,
        key: Any = beam.DoFn.KeyParam,
        stream: Any = beam.DoFn.StateParam(STREAM),
        buffer: Any = beam.DoFn.StateParam(BUFFER),
        mark: Any = beam.DoFn.StateParam(MARK),
    ) -> Iterator[Any]:
        """Feed the remaining elements and end the sequence."""
        fed, _, _ = mark.read() or (MIN_TIMESTAMP, 0, MAX_TIMESTAMP)
        entries = _sorted(buffer)
        yield from self._feed(key, entries, stream)
        if self._finish and (blob := stream.read()):
            time = entries[-1][0] if entries else fed
            yield key, Result(_seconds(time), self._model.restore(blob).finish())
        buffer.clear()
        stream.clear()
        mark.write((MAX_TIMESTAMP, 0, MAX_TIMESTAMP))

    def _feed(self, key: Any, entries: list[tuple[Any, bytes]], state: Any) -> Iterator[Any]:
        if not entries:
            return
        blob = state.read()
        stream = self._model.restore(blob) if blob else self._model.create_stream()
        for time, data in entries:
            yield key, Result(_seconds(time), stream.feed(_unpacked(self._model, data)))
        state.write(stream.save())

    def _due(self, time: Any) -> Any:
        """When an element may be fed, at the end of its interval where releases are gathered."""
        due, step = time + self._lateness, self._every.micros
        return Timestamp(micros=-(-due.micros // step) * step) if step else due

    def _rejected(self, key: Any, time: Any, x: Any, reason: str) -> Iterator[Any]:
        if self._has_rejects:
            yield beam.pvalue.TaggedOutput(_REJECTS, (key, Reject(_seconds(time), x, reason)))


def _sorted(buffer: Any) -> list[tuple[Any, bytes]]:
    return sorted(buffer.read(), key=lambda entry: entry[0])


def _put_back(buffer: Any, entries: list[tuple[Any, bytes]]) -> int:
    buffer.clear()
    for entry in entries:
        buffer.add(entry)
    return len(entries)


def _seconds(time: Any) -> float:
    return float(time.micros / 1e6)


def _packed(model: StreamingModel, x: Any) -> bytes:
    """Checked steps as bytes: their number, then the raw little-endian array of each input."""
    arrays = model.inputs.read(x, None, True)
    raw = [np.ascontiguousarray(a, a.dtype.newbyteorder("<")).tobytes() for a in arrays]
    return b"".join([_COUNT.pack(model.inputs.steps(arrays)), *raw])


def _unpacked(model: StreamingModel, data: bytes) -> Any:
    (steps,), offset, arrays = _COUNT.unpack_from(data), _COUNT.size, {}
    for info in model.metadata.inputs:
        tensor = info.graph
        shape = (steps, *tensor.shape) if info.time else tuple(tensor.shape)
        size, dtype = math.prod(shape), np.dtype(tensor.dtype)
        array = np.frombuffer(data, dtype.newbyteorder("<"), size, offset)
        arrays[info.name] = array.astype(dtype).reshape(shape)
        offset += size * dtype.itemsize
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))
