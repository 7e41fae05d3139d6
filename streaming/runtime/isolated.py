"""An interpreter in a separate process, for untrusted files: a crash or a hang becomes an error.

Both sides know shapes and types from the metadata, so that only the bytes of arrays and one line of an error go through
the pipes, and neither side ever instantiates objects from the other's data. The process has the rights of the user who
started it: it contains crashes, hangs and memory use, but not an attacker who takes over the interpreter.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, StreamingError
from streaming.runtime import agreement
from streaming.runtime.interpreter import FILL, Engine, Recipe, Run, resolve
from streaming.runtime.metadata import Metadata

# Seconds that one call may take, and the start of the process.
CALL_SECONDS, START_SECONDS = 30.0, 60.0
_MEMORY = 8 * 2**30
_HEADER = struct.Struct("<BII")  # what to do, batch, chunk
_ANSWER = struct.Struct("<BI")  # whether it failed, bytes of the error
_STEP, _ENCODE, _RESET = range(3)
_ERROR_BYTES = 1000

_Kinds = list[tuple[tuple[int, ...], np.dtype[Any]]]


class IsolatedEngine(Engine):
    """An `Engine` whose interpreter runs in another process.

    Args:
        recipe: of the model.
        runtime: the name of the runtime.
        meta: metadata of the model.

    Raises:
        ArtifactError: the process refuses the model, or ends while loading it.
    """

    def __init__(self, recipe: Recipe, runtime: str, meta: Metadata) -> None:
        self._recipe, self._meta = recipe, meta
        self._given = {"runtime": runtime, "threads": recipe.num_threads, "metadata": meta.to_json()}
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._lost = False
        try:
            self._start()
        except StreamingError as error:
            raise ArtifactError(
                f"{error}; the file is unfit or forged, take it from a source that you trust"
            ) from error
        self.step = self.run(1, recipe.chunk)

    def run(self, batch: int, chunk: int) -> Run:
        """The function of the signature for `batch` streams by `chunk` steps."""
        meta, header = self._meta, _HEADER.pack(_STEP, batch, chunk)
        shapes = agreement.step_kinds(meta, batch, chunk or meta.unit)[1]
        names = agreement.output_names(meta)
        rows: Sequence[NDArray[Any]] = ()
        if chunk == FILL:
            names, rows = [pack.output for pack in meta.packs], self._recipe.rows
        kinds = _kinds(shapes, names)
        carries = self._recipe.encode is not None and chunk != FILL

        def run(values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
            results = self._call(header, values, kinds)
            return [*rows, *results, *(values[-1:] if carries else ())]

        return run

    def encode(self, values: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """The context (1, size) that every step of a stream reads."""
        context = self._meta.packs[-1]
        kinds: _Kinds = [((1, context.size), np.dtype(context.dtype))]
        return self._call(_HEADER.pack(_ENCODE, 1, 1), values, kinds)[0]

    def reset(self) -> None:
        """Run the signature that gives internal state its initial values."""
        self._lost = False
        self._call(_HEADER.pack(_RESET, 1, 1), [], [])

    def _call(self, header: bytes, values: Sequence[NDArray[Any]], kinds: _Kinds) -> list[NDArray[Any]]:
        with self._lock:
            if self._lost:
                raise StreamingError("the interpreter's process ended, and the state in it with it; reset the stream")
            if self._child is None:
                self._start()
            assert self._child is not None
            try:
                self._child.send(header, *(np.ascontiguousarray(value) for value in values))
                answer = self._child.receive(sum(_size(kind) for kind in kinds), CALL_SECONDS)
            except _Ended as error:
                self._child, self._lost = None, self._meta.state == "internal"
                raise StreamingError(
                    f"the interpreter's process {error}; the stream has not moved, and the next call starts another"
                ) from None
        arrays, place = [], 0
        for shape, dtype in kinds:
            count = math.prod(shape)
            arrays.append(np.frombuffer(answer, dtype, count, place).reshape(shape).copy())
            place += count * dtype.itemsize
        return arrays

    def _start(self) -> None:
        child = _Child()
        try:
            text = json.dumps(self._given).encode()
            child.send(struct.pack("<II", len(text), len(self._recipe.flatbuffer)), text, self._recipe.flatbuffer)
            child.receive(0, START_SECONDS)
        except _Ended as error:
            raise StreamingError(f"the interpreter's process {error}") from None
        except BaseException:
            child.end()
            raise
        self._child = child


class _Ended(Exception):
    """The process is not there any more."""


class _Child:
    """A process and its pipes; it ends with this object."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streaming.runtime.isolated"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            bufsize=0,
        )
        self.end = weakref.finalize(self, _end, self._process, os.getpid())

    def send(self, *parts: Any) -> None:
        """Write all parts; raises _Ended where nobody reads them."""
        assert self._process.stdin is not None
        try:
            for part in parts:
                left = memoryview(part).cast("B") if memoryview(part).nbytes else memoryview(b"")
                while left:
                    self._wait(self._process.stdin, CALL_SECONDS, writes=True)
                    left = left[os.write(self._process.stdin.fileno(), left[:65536]) :]
        except OSError:
            raise self._ended() from None

    def receive(self, size: int, seconds: float) -> bytes:
        """Content of an answer; raises StreamingError with the error that it names, or _Ended."""
        until = time.monotonic() + seconds
        failed, length = _ANSWER.unpack(self._read(_ANSWER.size, until))
        if failed:
            line = self._read(min(length, _ERROR_BYTES), until).decode("utf-8", "replace")
            raise StreamingError(" ".join(line.split()))
        return self._read(size, until)

    def _read(self, size: int, until: float) -> bytes:
        assert self._process.stdout is not None
        received = bytearray()
        while len(received) < size:
            self._wait(self._process.stdout, until - time.monotonic())
            block = os.read(self._process.stdout.fileno(), min(size - len(received), 1 << 20))
            if not block:
                raise self._ended()
            received += block
        return bytes(received)

    def _wait(self, pipe: Any, seconds: float, *, writes: bool = False) -> None:
        poll = select.poll()
        poll.register(pipe, select.POLLOUT if writes else select.POLLIN)
        if not poll.poll(max(0, round(1000 * seconds))):
            self.end()
            raise _Ended(f"did not answer within {CALL_SECONDS:g} seconds and was ended")

    def _ended(self) -> _Ended:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(2)
            if status < 0:
                return _Ended(f"was ended by {signal.Signals(-status).name}")
            return _Ended(f"ended with status {status}")
        self.end()
        return _Ended("closed its pipes and was ended")


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:  # a forked process has no business with it
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _kinds(shapes: dict[str, tuple[tuple[int, ...], str]], names: Sequence[str]) -> _Kinds:
    return [(shapes[name][0], np.dtype(shapes[name][1])) for name in names]


def _size(kind: tuple[tuple[int, ...], np.dtype[Any]]) -> int:
    return math.prod(kind[0]) * kind[1].itemsize


def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    """The other side: open the model, then run what is asked for until nobody asks."""
    text, size = struct.unpack("<II", _exactly(source, 8))
    given = json.loads(_exactly(source, text))
    flatbuffer, meta = _exactly(source, size), Metadata.from_json(given["metadata"])
    try:
        _limit_memory(size)
        recipe = agreement.recipe(meta, resolve(given["runtime"])[1], flatbuffer, given["threads"])
        interpreter = recipe.open()
        agreement.check_graph(meta, interpreter)
        engine = Engine(recipe, interpreter)
    except (StreamingError, MemoryError) as error:
        _answer(sink, error)
        return
    _answer(sink)
    while header := source.read(_HEADER.size):
        what, batch, chunk = _HEADER.unpack(header)
        values = [_array(source, kind) for kind in _given(meta, what, batch, chunk)]
        try:
            results: Sequence[NDArray[Any]] = ()
            if what == _STEP:
                results = engine.run(batch, chunk)(values)
                given = len(agreement.output_names(meta))
                results = results[len(recipe.rows) :] if chunk == FILL else results[:given]
            elif what == _ENCODE:
                results = [engine.encode(values)]
            else:
                engine.reset()
        except (StreamingError, MemoryError) as error:
            _answer(sink, error)
        else:
            _answer(sink, None, *results)


def _given(meta: Metadata, what: int, batch: int, chunk: int) -> _Kinds:
    """Arrays that the other side sends with a request, in order."""
    if what == _RESET:
        return []
    if what == _ENCODE:
        named = agreement.encode_inputs(meta)
        return _kinds(named, list(named))
    names = agreement.fill_inputs(meta) if chunk == FILL else agreement.input_names(meta)
    return _kinds(agreement.step_kinds(meta, batch, chunk or meta.unit)[0], names)


def _answer(sink: BinaryIO, error: BaseException | None = None, *results: NDArray[Any]) -> None:
    line = b"" if error is None else (str(error) or type(error).__name__).encode()[:_ERROR_BYTES]
    sink.write(b"".join([_ANSWER.pack(error is not None, len(line)), line, *(r.tobytes() for r in results)]))
    sink.flush()


def _array(source: BinaryIO, kind: tuple[tuple[int, ...], np.dtype[Any]]) -> NDArray[Any]:
    return np.frombuffer(_exactly(source, _size(kind)), kind[1]).reshape(kind[0])


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise SystemExit(1)
    return data


def _limit_memory(size: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY + 4 * size,) * 2)


def main() -> None:
    """Serve the process that started this one, by the standard streams; all other output is discarded."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(os.dup(0), "rb") as source, open(os.dup(1), "wb") as sink:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1):
            os.dup2(nowhere, number)
        _serve(source, sink)


if __name__ == "__main__":
    main()
