"""One stream: a state, and the steps that carry it on."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from streaming.errors import InputError, StateMismatchError, StreamingError
from streaming.runtime.metadata import OutputInfo

if TYPE_CHECKING:
    from streaming.runtime.model import StreamingModel

# An array where the model has one output, a dict of arrays by name where it has several.
Arrays = Any

_MAGIC, _VERSION = b"RZST", 1
_HEADER = struct.Struct("<4sHI")


class Stream:
    """Carries the state of one sequence. Made by `StreamingModel.create_stream`.

    Inputs are arrays (n, *features) without a batch axis, a dict by name where the model has several. Outputs are
    arrays (m, *features), a dict by name where it has several; m counts the positions that are ready, so it is
    smaller than n while the delay fills and larger in `finish`. A call that fails leaves the stream as it was.
    """

    def __init__(self, model: StreamingModel, *, nan: str = "raise") -> None:
        if nan not in ("raise", "pass"):
            raise InputError(f"nan is {nan!r}, expected 'raise' or 'pass'")
        self.model = model
        self._nan = nan
        meta = model.metadata
        self._finite = nan == "raise"
        self._unit, self._chunk = meta.unit, meta.chunk
        self._outputs = meta.outputs
        self._single = model.readers[0] if len(model.readers) == 1 else None
        self._count = len(meta.outputs) + sum(1 for out in meta.outputs if out.valid)
        self._warm = max(out.start for out in meta.outputs)
        self._plain = len(meta.outputs) == 1 and meta.outputs[0].valid is None
        self._needs_valid = meta.valid is not None
        self._valid = {size: np.ones((1, size), bool) for size in {self._unit, self._chunk}}
        self.reset()

    def reset(self) -> None:
        """Back to the initial state, as a fresh stream; opens a finished one again."""
        self.state: Sequence[np.ndarray] = self.model.initial_state
        self.position = 0
        self._waiting: list[np.ndarray] | None = None
        self._closed = ""

    def step(self, x: Any) -> Arrays:
        """Take exactly one chunk, (chunk, *features) -> (n, *features); n is 0 while the delay fills."""
        values = self.read_step(x)
        if self._needs_valid:
            values.append(self._valid[self._chunk])
        values += self.state
        return self.accept(self.model.signature(1, self._chunk).run(values))

    def read_step(self, x: Any) -> list[np.ndarray]:
        """Check one chunk for `step`; raises InputError or StreamingError."""
        if self._closed:
            self._refuse()
        if self._waiting is not None:
            raise StreamingError(
                f"{self._waiting_steps} steps from feed() wait for a chunk of {self._unit}; go on with feed()"
            )
        return self._read(x, self._chunk)

    def accept(self, results: list[np.ndarray]) -> Arrays:
        """Take over what an invoke of one chunk returned for this stream."""
        begin = self.position
        self.position = begin + self._chunk
        self.state = results[self._count :]
        if self._plain:
            rows = results[0][0]
            return rows if begin >= self._warm else rows[max(0, self._warm - begin) :]
        return self._named([_ready(out, results, i, begin, None) for i, out in enumerate(self._outputs)])

    def feed(self, x: Any) -> Arrays:
        """Take any number of steps, (n, *features) -> (m, *features), also none."""
        if self._closed:
            self._refuse()
        arrays = self._read(x, None)
        arrays = self._join_waiting(arrays)
        steps = self._length(arrays)
        state, position, done = self.state, self.position, 0
        pieces: list[list[np.ndarray]] = []
        while steps - done >= self._unit:
            size = self._chunk if steps - done >= self._chunk else self._unit
            part = self._cut(arrays, done, done + size)
            state, outputs = self._invoke(part, size, self._valid[size], state, position, None)
            pieces.append(outputs)
            done, position = done + size, position + size
        self.state, self.position = state, position
        self._waiting = self._cut(arrays, done, steps) if done < steps else None
        return self._joined(pieces)

    def finish(self) -> Arrays:
        """What the delay still holds back; afterwards the stream is closed until `reset`."""
        if self._closed:
            self._refuse()
        waiting = self._waiting_steps
        total = self.position + waiting
        end = total + self.model.metadata.flush if total else 0
        state, position = self.state, self.position
        pieces: list[list[np.ndarray]] = []
        while position < end:
            arrays, valid = self._padding(total - position)
            state, outputs = self._invoke(arrays, self._unit, valid, state, position, total)
            pieces.append(outputs)
            position += self._unit
        self.state, self.position, self._waiting = state, position, None
        self._closed = "finished"
        return self._joined(pieces)

    def run(self, source: Iterable[Any]) -> Iterator[Arrays]:
        """Feed each item of a source and yield what comes out, the rest after the last; closes the stream."""
        for item in source:
            yield self.feed(item)
        yield self.finish()

    def fork(self) -> Stream:
        """An independent stream that goes on from the same state."""
        other = Stream(self.model, nan=self._nan)
        other.state, other.position = self.state, self.position
        other._waiting, other._closed = self._waiting, self._closed
        return other

    def close(self) -> None:
        """Drop the state; any use but `reset` is an error from then on."""
        self.reset()
        self._closed = "closed"

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save(self) -> bytes:
        """The stream as bytes: versioned, checksummed, bound to this model; `StreamingModel.restore` reads it."""
        waiting = self._waiting or []
        header = {
            "fingerprint": self.model.fingerprint,
            "position": self.position,
            "closed": self._closed,
            "nan": self._nan,
            "waiting": self._waiting_steps,
        }
        arrays = [*self.state, *waiting]
        body = json.dumps(header, sort_keys=True).encode()
        data = b"".join(np.ascontiguousarray(a).astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays)
        content = _HEADER.pack(_MAGIC, _VERSION, len(body)) + body + data
        return content + hashlib.sha256(content).digest()

    @classmethod
    def from_bytes(cls, model: StreamingModel, blob: bytes) -> Stream:
        """See `StreamingModel.restore`."""
        header, data = _open_blob(blob)
        if header["fingerprint"] != model.fingerprint:
            raise StateMismatchError(
                f"the state was saved from model {header['fingerprint'][:12]}, this is {model.fingerprint[:12]}; "
                "restore it with the file that it was saved from"
            )
        stream = cls(model, nan=header["nan"])
        stream.position, stream._closed = header["position"], header["closed"]
        steps = header["waiting"]
        templates = [*model.initial_state, *([r.zeros(steps) for r in model.readers] if steps else [])]
        if len(data) != sum(t.nbytes for t in templates):
            raise StateMismatchError("the saved state has another size than this model's; save it again")
        arrays, offset = [], 0
        for template in templates:
            dtype = template.dtype.newbyteorder("<")
            flat = np.frombuffer(data, dtype, template.size, offset)
            arrays.append(flat.astype(template.dtype).reshape(template.shape))
            offset += template.nbytes
        stream.state = arrays[: len(model.initial_state)]
        stream._waiting = arrays[len(model.initial_state) :] if steps else None
        return stream

    def _read(self, x: Any, steps: int | None) -> list[np.ndarray]:
        single = self._single
        if single is not None and not isinstance(x, Mapping):
            return [single.read(x, steps, self._finite)]
        names = [reader.info.name for reader in self.model.readers]
        if not isinstance(x, Mapping) or set(x) != set(names):
            came = sorted(map(str, x)) if isinstance(x, Mapping) else type(x).__name__
            raise InputError(f"expected a dict of the inputs {names}, got {came}")
        arrays = [reader.read(x[reader.info.name], steps, self._finite) for reader in self.model.readers]
        lengths = {a.shape[1] for a, r in zip(arrays, self.model.readers, strict=True) if r.info.time}
        if len(lengths) > 1:
            shapes = {name: a.shape[1:] for name, a in zip(names, arrays, strict=True)}
            raise InputError(f"the inputs have different numbers of steps ({shapes}); give them equal lengths")
        return arrays

    def _invoke(
        self,
        arrays: list[np.ndarray],
        size: int,
        valid: np.ndarray,
        state: Sequence[np.ndarray],
        position: int,
        total: int | None,
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        values = [*arrays, valid, *state] if self._needs_valid else [*arrays, *state]
        results = self.model.signature(1, size).run(values)
        ready = [_ready(out, results, i, position, total) for i, out in enumerate(self._outputs)]
        return results[self._count :], ready

    def _padding(self, real: int) -> tuple[list[np.ndarray], np.ndarray]:
        """One unit in which the first `real` steps wait and the others do not exist."""
        real = max(0, real)
        arrays = [reader.zeros(self._unit) for reader in self.model.readers]
        if real and self._waiting is not None:
            for array, waiting, reader in zip(arrays, self._waiting, self.model.readers, strict=True):
                if reader.info.time:
                    array[:, :real] = waiting
                else:
                    array[:] = waiting
        valid = np.zeros((1, self._unit), bool)
        valid[:, :real] = True
        return arrays, valid

    def _join_waiting(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        if self._waiting is None:
            return arrays
        readers = self.model.readers
        return [
            np.concatenate([old, new], axis=1) if reader.info.time else new
            for reader, old, new in zip(readers, self._waiting, arrays, strict=True)
        ]

    @property
    def _waiting_steps(self) -> int:
        return 0 if self._waiting is None else self._length(self._waiting)

    def _length(self, arrays: list[np.ndarray]) -> int:
        return next(a.shape[1] for a, r in zip(arrays, self.model.readers, strict=True) if r.info.time)

    def _cut(self, arrays: list[np.ndarray], begin: int, end: int) -> list[np.ndarray]:
        readers = self.model.readers
        return [a[:, begin:end] if r.info.time else a for a, r in zip(arrays, readers, strict=True)]

    def _joined(self, pieces: list[list[np.ndarray]]) -> Arrays:
        columns = []
        for index, out in enumerate(self._outputs):
            rows = [piece[index] for piece in pieces]
            columns.append(np.concatenate(rows) if rows else np.zeros((0, *out.shape), out.dtype))
        return self._named(columns)

    def _named(self, columns: list[np.ndarray]) -> Arrays:
        if len(columns) == 1:
            return columns[0]
        return {out.name: column for out, column in zip(self._outputs, columns, strict=True)}

    def _refuse(self) -> None:
        raise StreamingError(f"the stream is {self._closed}; call reset() to start a new sequence")


def _ready(out: OutputInfo, results: list[np.ndarray], index: int, begin: int, total: int | None) -> np.ndarray:
    """The rows of an output that exist, of an invoke that began at input step `begin`; total: None while it runs."""
    rows = results[index][0]
    first = max(0, out.start - begin)
    last = len(rows) if total is None else max(0, min(len(rows), total + out.end - begin))
    return rows[first:last]


def _open_blob(blob: bytes) -> tuple[dict[str, Any], bytes]:
    damaged = "the saved state is truncated or damaged; save it again"
    if not isinstance(blob, bytes | bytearray | memoryview):
        raise StateMismatchError(f"expected the bytes of Stream.save(), got {type(blob).__name__}")
    blob = bytes(blob)
    if len(blob) < _HEADER.size + 32 or blob[:4] != _MAGIC:
        raise StateMismatchError("this is no saved stream; give the bytes of Stream.save()")
    _, version, size = _HEADER.unpack_from(blob)
    if version != _VERSION:
        raise StateMismatchError(f"the state was saved by version {version}, this reads {_VERSION}; save it again")
    content, digest = blob[:-32], blob[-32:]
    if hashlib.sha256(content).digest() != digest or _HEADER.size + size > len(content):
        raise StateMismatchError(damaged)
    return json.loads(content[_HEADER.size : _HEADER.size + size]), content[_HEADER.size + size :]
