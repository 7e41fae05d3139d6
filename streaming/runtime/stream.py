"""One stream: a state, and the calls that advance it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError, StateMismatchError, StreamingError
from streaming.runtime import saved
from streaming.runtime.asynchronous import AsyncCalls
from streaming.runtime.contract import ModelParts
from streaming.runtime.interpreter import FILL, Engine
from streaming.runtime.outputs import Arrays
from streaming.runtime.slab import Slab

# Yields (steps, inputs and mask of one stream) for each invoke, is sent its results, returns what the call returns.
Work = Generator[tuple[int, list[NDArray[Any]]], Sequence[NDArray[Any]], Arrays]

_CLOSED = ("", "finished", "closed", "without its source")
_NAN = ("raise", "pass")


class Stream(AsyncCalls):
    """Carries the state of one sequence. Made by `StreamingModel.create_stream`.

    Inputs are arrays (n, *features) without a batch axis, a dict by name where the model has several; an input
    without a time axis is given whole with each call. Outputs are arrays (m, *features), a dict by name where the
    model has several; m counts the positions that are ready, so it is smaller than n while the delay fills and
    larger in `finish`. The source of a model with `encode` may be given by name with the steps instead: the first
    call encodes it, later ones may repeat it. A call that fails leaves the stream as it was.

    Any thread may use a stream, one at a time, and different streams of a model may be used at the same time. `astep`,
    `afeed`, `afinish`, `aencode` and `arun` are the same for asyncio, in their turn where several are awaited at once.
    """

    def __init__(self, model: ModelParts, *, nan: str = "raise") -> None:
        if nan not in _NAN:
            raise InputError(f"nan is {nan!r}, expected 'raise' or 'pass'")
        meta = model.metadata
        self.model = model
        self._nan, self._finite = nan, nan == "raise"
        self._inputs, self._single, self._static = model.inputs, model.inputs.single, model.inputs.static
        self._outputs, self._count = model.outputs, model.outputs.count
        # The first position with an output, where rows need no other care.
        self._start = model.outputs.start if model.outputs.plain else None
        self._source_names = frozenset() if model.source is None else model.source.names
        self._unit, self._chunk, self._lead = meta.unit, meta.chunk, meta.lead
        # Up to here no window is full: units of steps only fill the state.
        self._filled = meta.hop * min(out.start for out in meta.outputs) if model.recipe.fill is not None else 0
        self._ones = {size: self._mask(size, size) for size in (self._unit, self._chunk)}
        self._all_valid = self._ones[self._chunk]
        # The place where the engine is looked up: the calling thread's, or this stream's own.
        self._place: Any = model.engines.local
        self._swept = model.recipe.make is None  # whether the runtime has views of its tensors
        if meta.state == "internal":
            self._place = SimpleNamespace(engine=model.recipe.engine())
        # States, (1, size) each: the stream's own, or its row in a slab that other streams share.
        self.slab: Slab | None = None
        self.row = 0
        self.reset()

    @property
    def position(self) -> int:
        """Steps taken since the start."""
        self._settle()
        return self._position + self._pending - self._lead

    def reset(self) -> None:
        """Return to the initial state, as a fresh stream; reopens a finished or closed stream."""
        if self.model.metadata.state == "internal":
            self._place.engine.reset()
        self.leave()
        self.own: Sequence[NDArray[Any]] = self.model.initial_state
        # Steps of whole units, and those that wait for the rest of one; `lead` zeros wait before the first step.
        self._position = 0
        self._pending = self._lead
        self._held: list[NDArray[Any]] | None = self._inputs.zeros(self._lead) if self._lead else None
        self._closed = "" if self.model.source is None else "without its source"
        self._source: list[NDArray[Any]] | None = None

    def encode(self, x: Any) -> None:
        """Give a fresh stream the whole input that it depends on, before its first step.

        Args:
            x: (S, *features) with S up to `model.metadata.encode.max_length`, or (*features) for an input of fixed
                shape; a dict by name where there are several.

        Raises:
            InputError: shape, dtype or values are wrong.
            StreamingError: the model takes no such input, or the stream has started.
        """
        source = self.model.source
        if source is None:
            raise StreamingError("the model has no signature 'encode'; begin with step() or feed()")
        if self._closed != "without its source":
            raise StreamingError("the stream has its source already; call reset() to give it another")
        given = source.read(x, self._finite)
        context = self._engine().encode(given)
        self.put_states([*self.states()[:-1], context])
        self._closed, self._source = "", given

    def step(self, x: Any) -> Arrays:
        """Take exactly one chunk, (chunk, *features) -> (m, *features); m is 0 while the delay fills.

        Raises:
            InputError: shape, dtype or values are wrong.
            StreamingError: the stream is finished or closed, or steps of `feed` wait for a whole chunk.
        """
        if self._source_names and self._brings_source(x):
            self.read(x, self._chunk)
            x = {name: value for name, value in x.items() if name not in self._source_names}
        if self._closed or self._pending or self.slab is not None or self._position < self._filled:
            self.check_ready()
            self.leave()
            if self._lead or self._position < self._filled:
                return self._drive(self.feeding(self.read(x, self._chunk)))
        try:
            engine = self._place.engine
        except AttributeError:
            engine = self.model.engines.get()
        held = None
        if self._single is not None and type(x) is np.ndarray:
            value = self._single.read_chunk(x, self._finite)
            if engine.step_one is not None and self._start is not None:
                rows, state = engine.step_one(value, self.own[0])
                begin, self.own = self._position, (state,)
                self._position = begin + self._chunk
                return rows if begin >= self._start else rows[self._start - begin :]
            values = [value[None], *self._all_valid, *self.own]
        else:
            held = self._inputs.read_chunks(x, self._finite)
            values = [*held, *self._all_valid, *self.own]
        results = engine.step(values)
        outputs = self.take(results)
        self.own = results[self._count :]
        if self._static and held is not None:
            self.hold(held)
        return outputs

    def feed(self, x: Any) -> Arrays:
        """Take any number of steps, also none: (n, *features) -> (m, *features). Raises as `step`."""
        if self._closed and not self._brings_source(x):
            self._refuse()
        arrays = self.read(x)
        self._settle()
        steady = self._outputs.steady
        if steady is None or self._swept is False:
            return self._drive(self.feeding(arrays))
        if self._position >= steady:
            return self._sweep(arrays)
        first = -(-(steady - self._position) // self._unit) * self._unit - self._pending
        if self._inputs.steps(arrays) <= first:
            return self._drive(self.feeding(arrays))
        return self._started(arrays, first)

    def finish(self) -> Arrays:
        """Returns the outputs that the delay still holds back; afterwards the stream is closed until `reset`."""
        return self._drive(self.finishing())

    def run(self, source: Iterable[Any]) -> Iterator[Arrays]:
        """Feed each item of a source and yield its outputs, then those of `finish`."""
        for item in source:
            yield self.feed(item)
        yield self.finish()

    def fork(self) -> Stream:
        """An independent stream that continues from the same state."""
        self._need_external("fork")
        other = self.another()
        self.leave()
        other.go_back(self.snapshot())
        return other

    def save(self) -> bytes:
        """The stream as bytes: versioned, checksummed, bound to this model; `StreamingModel.restore` reads it."""
        self._need_external("save")
        self._settle()
        header = saved.Header(
            fingerprint=self.model.fingerprint,
            position=self._position,
            waiting=self._pending,
            held=self._held is not None,
            closed=self._closed,
            nan=self._nan,
        )
        return saved.pack(header, [*self.states(), *(self._held or [])])

    @classmethod
    def from_bytes(cls, model: ModelParts, blob: bytes) -> Stream:
        """See `StreamingModel.restore`."""
        header, data = saved.unpack(blob)
        if header.fingerprint != model.fingerprint:
            raise StateMismatchError(
                f"the stream was saved from model {header.fingerprint[:12]}, this is {model.fingerprint[:12]}; "
                "restore it with the file that it was saved from"
            )
        if header.closed not in _CLOSED or header.nan not in _NAN or header.waiting >= model.metadata.unit:
            raise StateMismatchError("the saved stream has no sound header; save it again")
        stream = cls(model, nan=header.nan)
        stream._need_external("restore")
        held = model.inputs.zeros(header.waiting) if header.held else []
        arrays = saved.split(data, [*model.initial_state, *held])
        stream._position, stream._pending, stream._closed = header.position, header.waiting, header.closed
        stream.own = arrays[: len(model.initial_state)]
        stream._held = arrays[len(model.initial_state) :] if header.held else None
        return stream

    def close(self) -> None:
        """Drop the state; any further use but `reset` is an error."""
        self.reset()
        self._closed = "closed"

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What the runs over many streams need of each of theirs.

    def another(self) -> Stream:
        """A fresh stream of the same kind."""
        return Stream(self.model, nan=self._nan)

    def step_all(self, streams: Sequence[Stream], inputs: Sequence[Any]) -> list[Arrays]:
        """`StreamingModel.step_streams` of streams of this kind."""
        return self.model.step_streams(streams, inputs)

    def check_ready(self) -> None:
        """Raises StreamingError where `step` is not allowed now."""
        if self._closed or self._pending != self._lead:
            self._refuse()

    def read(self, x: Any, steps: int | None = None) -> list[NDArray[Any]]:
        """Check `steps` steps, None for any number, as one array (1, n, ...) an input. Raises InputError.

        A source among them is encoded where the stream has none yet, and must be that of the stream otherwise.
        """
        if not self._brings_source(x):
            return self._inputs.read(x, steps, self._finite)
        moving = {name: value for name, value in x.items() if name not in self._source_names}
        arrays = self._inputs.read(moving, steps, self._finite)
        source = {name: x[name] for name in self._source_names}
        if self._closed == "without its source":
            self.encode(source)
        elif not self._is_source(source):
            raise InputError(
                f"the source ({', '.join(sorted(source))}) is not the one that the stream began with; call reset() for "
                "a new one, or leave it out"
            )
        return arrays

    def stepping(self, arrays: list[NDArray[Any]]) -> Work:
        """The invoke of `step`, as those of `feeding`."""
        self.check_ready()
        return (yield from self.feeding(arrays))

    def feeding(self, arrays: list[NDArray[Any]]) -> Work:
        """The invokes of `feed`, as a generator: yields the steps and values of each, and is sent its results."""
        if self._closed:
            self._refuse()
        if self._pending and self._held is not None:
            arrays = self._inputs.join(self._held, arrays)
        steps, done = self._inputs.steps(arrays), 0
        pieces: list[list[NDArray[Any]]] = []
        while steps - done >= self._unit:
            size = self._chunk if steps - done >= self._chunk else self._unit
            if self._position + self._unit <= self._filled:
                yield FILL, self._inputs.cut(arrays, done, done + self._unit)
                done, self._position = done + self._unit, self._position + self._unit
                continue
            results = yield size, [*self._inputs.cut(arrays, done, done + size), *self._ones[size]]
            pieces.append(self._outputs.ready(results, self._position, None))
            done, self._position = done + size, self._position + size
        self._pending, self._held = steps - done, None
        if self._pending or self._static:
            self.hold(self._inputs.cut(arrays, done, steps))
            self.leave()
        return self._outputs.joined(pieces)

    def finishing(self) -> Work:
        """The invokes of `finish`, as those of `feeding`."""
        if self._closed:
            self._refuse()
        self._settle()
        begin, total = self._position, self._position + self._pending
        end = total + self.model.metadata.flush if total > self._lead else 0
        if self.model.window is not None:
            # Rows of full windows were given; of padded ones that of the last step may be missing.
            end = total if self.model.metadata.pad and total > self._lead else begin
        pieces: list[list[NDArray[Any]]] = []
        while self._position < end:
            part = self._inputs.padded(self._held, self._position - begin, self._unit)
            results = yield self._unit, [*part, *self._mask(self._unit, total - self._position)]
            ready = None if self.model.window is not None else total
            pieces.append(self._outputs.ready(results, self._position, ready))
            self._position += self._unit
        self._position, self._pending, self._held, self._closed = total, 0, None, "finished"
        self.leave()
        return self._outputs.joined(pieces)

    def invoke(self, size: int, values: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Run `size` steps of this stream alone and update its states; returns the results."""
        results = self._engine().run(1, size)([*values, *self.states()])
        self.put_states(results[self._count :])
        return results

    def take(self, results: Sequence[NDArray[Any]], row: int = 0) -> Arrays:
        """Advance by a chunk: returns the outputs in this stream's row of the results of an invoke."""
        begin = self._position
        self._position = begin + self._chunk
        if self._start is None:
            return self._outputs.named(self._outputs.ready(results, begin, None, row))
        rows = results[0][row]
        return rows if begin >= self._start else rows[self._start - begin :]

    def skip(self, steps: int) -> None:
        """Advance by steps whose outputs were read for all streams of a slab at once."""
        self._position += steps

    def hold(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Keep a copy of steps that wait, and of the inputs without a time axis, which `finish` uses again."""
        held = arrays if self._pending else self._inputs.cut(arrays, 0, 0)
        self._held = [array.copy() for array in held]

    def states(self) -> Sequence[NDArray[Any]]:
        """The packed states, (1, size) each; nobody writes to them."""
        slab = self.slab
        return self.own if slab is None else slab.rows(self.row)

    def put_states(self, states: Sequence[NDArray[Any]]) -> None:
        """Take over packed states, (1, size) each."""
        self.leave()
        self.own = states

    def leave(self) -> None:
        """Take the states out of the shared slab."""
        if self.slab is not None:
            self.slab.dissolve()

    def snapshot(self) -> tuple[Any, ...]:
        """All that a call changes, for `go_back`."""
        self._settle()
        return self.states(), self._position, self._pending, self._held, self._closed

    def go_back(self, snapshot: tuple[Any, ...]) -> None:
        """Restore a snapshot, of this stream or of another."""
        self.leave()
        states, self._position, self._pending, self._held, self._closed = snapshot
        self.own = [array if array.base is None else array.copy() for array in states]

    def _brings_source(self, x: Any) -> bool:
        """Whether the inputs of a call hold the source, where one may still be given or repeated."""
        known = self._source_names
        return bool(known) and self._closed in ("", "without its source") and isinstance(x, Mapping) and known <= set(x)

    def _is_source(self, given: Mapping[str, Any]) -> bool:
        """Whether a source is that of this stream; one that was restored or forked knows its context alone."""
        assert self.model.source is not None
        arrays = self.model.source.read(given, self._finite)
        if self._source is not None:
            return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(arrays, self._source, strict=True))
        context = self._engine().encode(arrays)
        return np.allclose(context, self.states()[-1], 1e-4, 1e-5, equal_nan=True)

    def _settle(self) -> None:
        if self.slab is not None:
            self.slab.settle()

    def _drive(self, work: Work) -> Arrays:
        before = self.snapshot()
        try:
            size, values = next(work)
            while True:
                size, values = work.send(self.invoke(size, values))
        except StopIteration as end:
            return end.value
        except BaseException:
            self.go_back(before)
            raise

    def _started(self, arrays: list[NDArray[Any]], first: int) -> Arrays:
        """`feed` of a stream whose first steps, so many, may give no rows."""
        before = self.snapshot()
        try:
            head = self._drive(self.feeding(self._inputs.cut(arrays, 0, first)))
            rest = self._sweep(self._inputs.cut(arrays, first, self._inputs.steps(arrays)))
        except BaseException:
            self.go_back(before)
            raise
        if isinstance(rest, dict):
            return {name: np.concatenate([head[name], rows]) for name, rows in rest.items()}
        return np.concatenate([head, rest])

    def _sweep(self, arrays: list[NDArray[Any]]) -> Arrays:
        """`feeding` where all rows exist, by the engine's sweeps; a failure comes before the stream has moved."""
        held = self._held if self._pending else None
        joined = arrays if held is None else self._inputs.join(held, arrays)
        total, done = self._inputs.steps(joined), 0
        states, pieces = self.states(), []
        for size in {self._chunk: None, self._unit: None}:
            count = (total - done) // size
            if not count:
                continue
            sweep = self._engine().sweep(size)
            if sweep is None:
                self._swept = False
                return self._drive(self.feeding(arrays))
            part = self._inputs.cut(joined, done, done + count * size)
            rows, states = sweep.run([*part, *self._ones[size]], states, count)
            pieces.append(self._outputs.all(rows))
            done += count * size
        if done:
            self.put_states(states)
        self._position, self._pending, self._held = self._position + done, total - done, None
        if self._pending or self._static:
            self.hold(self._inputs.cut(joined, done, total))
            self.leave()
        return self._outputs.joined(pieces)

    def _mask(self, size: int, real: int) -> list[NDArray[Any]]:
        """The `valid` input, (1, size) of which the first `real` exist; nothing where the graph has none."""
        if self.model.metadata.valid is None:
            return []
        return [(np.arange(size)[None] < real).astype(self.model.metadata.flags)]

    def _engine(self) -> Engine:
        return self._place.engine if self.model.metadata.state == "internal" else self.model.engines.get()

    def _need_external(self, what: str) -> None:
        if self.model.metadata.state == "internal":
            raise StreamingError(
                f"cannot {what}: the model keeps its state inside the interpreter; convert it with state='external'"
            )

    def _refuse(self) -> None:
        if self._closed == "without its source":
            raise StreamingError("the stream has not seen its source; call encode() first")
        if self._closed:
            raise StreamingError(f"the stream is {self._closed}; call reset() to start a new sequence")
        waiting = self._pending - self._lead
        raise StreamingError(
            f"{waiting} steps from feed() wait for {self._unit}; go on with feed() until the chunk is whole"
        )
