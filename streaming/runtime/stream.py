"""One stream: a state, and the steps that carry it on."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from streaming.errors import InputError, StateMismatchError, StreamingError
from streaming.runtime import saved
from streaming.runtime.interpreter import Engine

if TYPE_CHECKING:
    from streaming.runtime.model import StreamingModel

# An array where the model has one output, a dict of arrays by name where it has several. Only the model knows
# which, so a union would make every caller test what it knows already.
Arrays = Any
# Yields (steps, inputs and mask of one stream) for each invoke, is sent its results, returns what the call returns.
Work = Generator[tuple[int, list[np.ndarray]], Sequence[np.ndarray], Arrays]

_CLOSED = ("", "finished", "closed", "without its source")
_NAN = ("raise", "pass")


class Stream:
    """Carries the state of one sequence. Made by `StreamingModel.create_stream`; not for two threads at once.

    Inputs are arrays (n, *features) without a batch axis, a dict by name where the model has several; an input
    without a time axis is given whole with each call. Outputs are arrays (m, *features), a dict by name where the
    model has several; m counts the positions that are ready, so it is smaller than n while the delay fills and
    larger in `finish`. A call that fails leaves the stream as it was.
    """

    def __init__(self, model: StreamingModel, *, nan: str = "raise") -> None:
        if nan not in _NAN:
            raise InputError(f"nan is {nan!r}, expected 'raise' or 'pass'")
        meta = model.metadata
        self.model = model
        self._nan, self._finite = nan, nan == "raise"
        self._inputs, self._single, self._static = model.inputs, model.inputs.single, model.inputs.static
        self._unit, self._chunk = meta.unit, meta.chunk
        self._outputs = meta.outputs
        marks = [out for out in meta.outputs if out.valid]
        self._marks = [len(meta.outputs) + marks.index(out) if out.valid else 0 for out in meta.outputs]
        self._count = len(meta.outputs) + len(marks)
        self._plain = len(meta.outputs) == 1 and not marks
        self._start = meta.outputs[0].start
        self._ones = {size: self._mask(size, size) for size in (self._unit, self._chunk)}
        self._all_valid = self._ones[self._chunk]
        # The place where the engine is looked up: the calling thread's, or this stream's own.
        self._place: Any = model.engines.local
        if meta.state == "internal":
            self._place = SimpleNamespace(engine=Engine(model.recipe))
        self.reset()

    @property
    def position(self) -> int:
        """Steps taken since the start."""
        return self._position + self._pending

    def reset(self) -> None:
        """Back to the initial state, as a fresh stream; opens a finished or closed one again."""
        if self.model.metadata.state == "internal":
            self._place.engine.reset()
        # States lie in arrays (B, size), shared by the B streams of an invoke: this stream's row, None for B = 1.
        self._slab: Sequence[np.ndarray] = self.model.initial_state
        self._row: int | None = None
        self._position = 0
        self._pending = 0
        self._held: list[np.ndarray] | None = None
        self._closed = "" if self.model.source is None else "without its source"

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
        context = self._engine().encode(source.read(x, self._finite))
        self._slab, self._row, self._closed = [*self.states()[:-1], context], None, ""

    def step(self, x: Any) -> Arrays:
        """Take exactly one chunk, (chunk, *features) -> (m, *features); m is 0 while the delay fills.

        Raises:
            InputError: shape, dtype or values are wrong.
            StreamingError: the stream is finished or closed, or steps of `feed` wait for a whole chunk.
        """
        values = self.read_step(x)
        held = values if self._static else None
        values = [*values, *self._all_valid, *(self._slab if self._row is None else self.states())]
        try:
            engine = self._place.engine
        except AttributeError:
            engine = self.model.engines.get()
        results = engine.step(values)
        outputs = self._take(results)
        self._slab, self._row = results[self._count :], None
        if held is not None:
            self.hold(held)
        return outputs

    def feed(self, x: Any) -> Arrays:
        """Take any number of steps, also none: (n, *features) -> (m, *features). Raises as `step`."""
        return self._drive(self.feeding(self.read_feed(x)))

    def finish(self) -> Arrays:
        """What the delay still holds back; afterwards the stream is closed until `reset`."""
        return self._drive(self.finishing())

    def run(self, source: Iterable[Any]) -> Iterator[Arrays]:
        """Feed each item of a source and yield what comes out, the rest after the last; finishes the stream."""
        for item in source:
            yield self.feed(item)
        yield self.finish()

    def fork(self) -> Stream:
        """An independent stream that goes on from the same state."""
        self._need_external("fork")
        other = Stream(self.model, nan=self._nan)
        other._slab, other._row, other._position = self._slab, self._row, self._position
        other._pending, other._held, other._closed = self._pending, self._held, self._closed
        return other

    def save(self) -> bytes:
        """The stream as bytes: versioned, checksummed, bound to this model; `StreamingModel.restore` reads it."""
        self._need_external("save")
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
    def from_bytes(cls, model: StreamingModel, blob: bytes) -> Stream:
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
        stream._slab = arrays[: len(model.initial_state)]
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

    def read_feed(self, x: Any) -> list[np.ndarray]:
        """Check any number of steps, one array (1, n, ...) an input; the stream does not move. Raises InputError."""
        return self._inputs.read(x, None, self._finite)

    def feeding(self, arrays: list[np.ndarray]) -> Work:
        """The invokes of `feed`: yields the steps and the values of each, is sent what it returned."""
        if self._closed:
            self._refuse()
        if self._pending and self._held is not None:
            arrays = self._inputs.join(self._held, arrays)
        steps, done = self._inputs.steps(arrays), 0
        pieces: list[list[np.ndarray]] = []
        while steps - done >= self._unit:
            size = self._chunk if steps - done >= self._chunk else self._unit
            results = yield size, [*self._inputs.cut(arrays, done, done + size), *self._ones[size]]
            pieces.append([self._ready(results, i, self._position, None) for i in range(len(self._outputs))])
            done, self._position = done + size, self._position + size
        self._pending, self._held = steps - done, None
        if self._pending or self._static:
            self.hold(self._inputs.cut(arrays, done, steps))
        return self._joined(pieces)

    def finishing(self) -> Work:
        """The invokes of `finish`, as those of `feeding`."""
        if self._closed:
            self._refuse()
        begin, total = self._position, self.position
        end = total + self.model.metadata.flush if total else 0
        pieces: list[list[np.ndarray]] = []
        while self._position < end:
            part = self._inputs.padded(self._held, self._position - begin, self._unit)
            results = yield self._unit, [*part, *self._mask(self._unit, total - self._position)]
            pieces.append([self._ready(results, i, self._position, total) for i in range(len(self._outputs))])
            self._position += self._unit
        self._position, self._pending, self._held, self._closed = total, 0, None, "finished"
        return self._joined(pieces)

    def snapshot(self) -> tuple[Any, ...]:
        """All that a call changes, for `go_back`; arrays of states are never written to."""
        return self._slab, self._row, self._position, self._pending, self._held, self._closed

    def go_back(self, snapshot: tuple[Any, ...]) -> None:
        """Undo what was done since."""
        self._slab, self._row, self._position, self._pending, self._held, self._closed = snapshot

    def put_states(self, states: Sequence[np.ndarray]) -> None:
        """Take over packed states, (1, size) each."""
        self._slab, self._row = states, None

    def _drive(self, work: Work) -> Arrays:
        before = self.snapshot()
        try:
            size, values = next(work)
            while True:
                results = self._engine().run(1, size)([*values, *self.states()])
                self._slab, self._row = results[self._count :], None
                size, values = work.send(results)
        except StopIteration as end:
            return end.value
        except BaseException:
            self.go_back(before)
            raise

    def read_step(self, x: Any) -> list[np.ndarray]:
        """Check one chunk, one array (1, ...) an input; the stream does not move. Raises as `step`."""
        if self._closed or self._pending:
            self.check_ready()
        if self._single is not None and type(x) is np.ndarray:
            return [self._single.read_chunk(x, self._finite)]
        return self._inputs.read(x, self._chunk, self._finite)

    def check_ready(self) -> None:
        """Raises StreamingError where `step` is not allowed now."""
        if self._closed or self._pending:
            self._refuse()

    def states(self) -> list[np.ndarray]:
        """The packed states, (1, size) each."""
        row = self._row
        return list(self._slab) if row is None else [array[row : row + 1] for array in self._slab]

    @staticmethod
    def common_slab(streams: Sequence[Stream]) -> Sequence[np.ndarray] | None:
        """The arrays (B, size) of an earlier invoke in which the streams still are the first rows, in this order.

        Such streams are different and open and have one model: whatever else happens to a stream gives it
        another slab.
        """
        if [s._row for s in streams] == list(range(len(streams))) and len({id(s._slab) for s in streams}) == 1:
            return streams[0]._slab
        return None

    @staticmethod
    def accept(streams: Sequence[Stream], results: Sequence[np.ndarray]) -> list[Arrays]:
        """Each stream takes over its row of what an invoke of one chunk returned."""
        slab, found = results[streams[0]._count :], []
        for row, stream in enumerate(streams):
            found.append(stream._take(results, row))
            stream._slab, stream._row = slab, row
        return found

    def hold(self, arrays: Sequence[np.ndarray]) -> None:
        """Keep a copy of steps that wait, and of the inputs without a time axis, which go on in `finish`."""
        held = arrays if self._pending else self._inputs.cut(arrays, 0, 0)
        self._held = [array.copy() for array in held]

    def _take(self, results: Sequence[np.ndarray], row: int = 0) -> Arrays:
        begin = self._position
        self._position = begin + self._chunk
        if self._plain:
            rows = results[0][row]
            return rows if begin >= self._start else rows[self._start - begin :]
        return self._named([self._ready(results, i, begin, None, row) for i in range(len(self._outputs))])

    def _ready(
        self, results: Sequence[np.ndarray], index: int, begin: int, total: int | None, row: int = 0
    ) -> np.ndarray:
        """The rows of an output that exist, of an invoke from input step `begin` on; `total` is None before the end."""
        out, rows = self._outputs[index], results[index][row]
        if out.valid:
            return rows[results[self._marks[index]][row]]
        last = len(rows) if total is None else max(0, total + out.end - begin)
        return rows[max(0, out.start - begin) : last]

    def _joined(self, pieces: list[list[np.ndarray]]) -> Arrays:
        if len(pieces) == 1:
            return self._named(pieces[0])
        columns = [[piece[i] for piece in pieces] for i in range(len(self._outputs))]
        empty = [np.zeros((0, *out.shape), out.dtype) for out in self._outputs]
        return self._named([np.concatenate(c) if c else e for c, e in zip(columns, empty, strict=True)])

    def _named(self, columns: list[np.ndarray]) -> Arrays:
        if len(columns) == 1:
            return columns[0]
        return {out.name: column for out, column in zip(self._outputs, columns, strict=True)}

    def _mask(self, size: int, real: int) -> list[np.ndarray]:
        """The `valid` input, (1, size) of which the first `real` exist; nothing where the graph has none."""
        if self.model.metadata.valid is None:
            return []
        return [np.arange(size)[None] < real]

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
        raise StreamingError(
            f"{self._pending} steps from feed() wait for {self._unit}; go on with feed() until the chunk is whole"
        )
