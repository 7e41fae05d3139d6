"""A streaming model: read once, verified, shared by any number of streams and threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streaming.errors import ArtifactError, InputError, StreamingError
from streaming.runtime import artifact
from streaming.runtime.artifact import Artifact
from streaming.runtime.inputs import InputReader
from streaming.runtime.interpreter import Signature, open_interpreter, resolve
from streaming.runtime.metadata import InputInfo, Metadata, OutputInfo
from streaming.runtime.stream import Arrays, Stream

_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


# An interpreter's worker threads do not survive a fork: children open their own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def load(path: str | os.PathLike[str], runtime: str = "auto", num_threads: int = 1) -> StreamingModel:
    """Load a file made by `streaming.convert`.

    Args:
        path: the .tflite file.
        runtime: "auto" takes the first installed of "litert", "tflite_runtime" and "tf".
        num_threads: threads of each interpreter.

    Raises:
        ArtifactError: the file is missing, damaged, foreign, or its metadata and graph disagree.
        InputError: the runtime is unknown or not installed.
    """
    return StreamingModel(artifact.read(path), runtime, num_threads)


class StreamingModel:
    """An immutable model. Safe to use from any thread: each thread runs an interpreter of its own.

    A single Stream is not to be used by two threads at the same time.
    """

    def __init__(self, content: Artifact, runtime: str = "auto", num_threads: int = 1) -> None:
        if not isinstance(num_threads, int) or num_threads < 1:
            raise InputError(f"num_threads is {num_threads!r}, expected a whole number, 1 or more")
        self.metadata: Metadata = content.metadata
        self.files: Mapping[str, bytes] = content.files
        self.runtime, self._factory = resolve(runtime)
        self._flatbuffer, self._num_threads = content.flatbuffer, num_threads
        self._local = threading.local()
        meta = self.metadata
        if meta.state != "external":
            raise ArtifactError(f"the model keeps {meta.state!r} state, this version runs 'external'; convert it so")
        self.readers = [InputReader(info) for info in meta.inputs]
        self.initial_state = tuple(self._initial(index) for index in range(len(meta.packs)))
        self.by_size = {(info.batch, info.chunk): name for name, info in meta.signatures.items()}
        if (1, meta.unit) not in self.by_size or (1, meta.chunk) not in self.by_size:
            raise ArtifactError("the metadata names no signature for one stream; convert the model again")
        self._check_graph()

    delay = property(lambda self: self.metadata.delay, doc="Input steps between an input and its output.")
    chunk = property(lambda self: self.metadata.chunk, doc="Steps that `Stream.step` takes.")
    fingerprint = property(lambda self: self.metadata.fingerprint, doc="SHA-256 of the flatbuffer, in hex.")

    @property
    def input_spec(self) -> dict[str, InputInfo]:
        """Inputs by name."""
        return {info.name: info for info in self.metadata.inputs}

    @property
    def output_spec(self) -> dict[str, OutputInfo]:
        """Outputs by name."""
        return {info.name: info for info in self.metadata.outputs}

    def create_stream(self, *, nan: str = "raise") -> Stream:
        """A new stream in its initial state. `nan`: "raise" refuses NaN and infinity in inputs, "pass" lets them in."""
        return Stream(self, nan=nan)

    def restore(self, blob: bytes) -> Stream:
        """The stream that `Stream.save` wrote; raises StateMismatchError for another model's or a damaged blob."""
        return Stream.from_bytes(self, blob)

    def step_streams(self, streams: Sequence[Stream], inputs: Sequence[Any]) -> list[Arrays]:
        """Step many streams of this model by one chunk each, in as few invokes as the batch signatures allow.

        Args:
            streams: different open streams of this model.
            inputs: one input for each, as for `Stream.step`.

        Returns:
            For each stream what its `step` would have returned.

        Raises:
            InputError: an input is wrong; no stream has moved.
            StreamingError: a stream is closed, comes twice, or belongs to another model.
        """
        if len(streams) != len(inputs):
            raise InputError(f"expected one input for each of {len(streams)} streams, got {len(inputs)}")
        if len({id(stream) for stream in streams}) != len(streams):
            raise StreamingError("a stream comes twice; step different streams, or step it again afterwards")
        if any(stream.model is not self for stream in streams):
            raise StreamingError("a stream belongs to another model; use that model's step_streams")
        rows = [stream.read_step(x) for stream, x in zip(streams, inputs, strict=True)]
        sizes = sorted(batch for batch, chunk in self.by_size if chunk == self.chunk)
        done: list[Arrays] = []
        while len(done) < len(streams):
            left = len(streams) - len(done)
            batch = next((size for size in sizes if size >= left), sizes[-1])
            part = slice(len(done), len(done) + min(batch, left))
            done += self._step_batch(streams[part], rows[part], batch)
        return done

    def _step_batch(self, streams: Sequence[Stream], rows: list[list[np.ndarray]], batch: int) -> list[Arrays]:
        unused = batch - len(streams)
        values = [_stack(column, unused) for column in zip(*rows, strict=True)]
        if self.metadata.valid is not None:
            values.append(np.ones((batch, self.chunk), bool))
        for index in range(len(self.metadata.packs)):
            values.append(_stack([stream.state[index] for stream in streams], unused))
        results = self.signature(batch, self.chunk).run(values)
        return [stream.accept([r[i : i + 1] for r in results]) for i, stream in enumerate(streams)]

    def signature(self, batch: int, chunk: int) -> Signature:
        """The signature of this size in the interpreter of the calling thread."""
        local = self._local
        try:
            if local.forks == _forks:
                return local.signatures[batch, chunk]
        except (AttributeError, KeyError):
            pass
        return self._open(batch, chunk)

    def _open(self, batch: int, chunk: int) -> Signature:
        local = self._local
        if getattr(local, "forks", None) != _forks:
            local.interpreter = open_interpreter(self._factory, self._flatbuffer, self._num_threads)
            local.signatures, local.forks = {}, _forks
        meta = self.metadata
        inputs = [info.name for info in meta.inputs] + ([meta.valid] if meta.valid else [])
        outputs = [info.name for info in meta.outputs] + [info.valid for info in meta.outputs if info.valid]
        signature = Signature(
            local.interpreter,
            self.by_size[batch, chunk],
            inputs + [pack.input for pack in meta.packs],
            outputs + [pack.output for pack in meta.packs],
        )
        local.signatures[batch, chunk] = signature
        return signature

    def _check_graph(self) -> None:
        """Refuse a file whose metadata and graph disagree. Opens the signatures of the first use only."""
        meta = self.metadata
        signature = self.signature(1, meta.unit)
        known = set(self._local.interpreter.get_signature_list())
        if known != set(meta.signatures):
            raise ArtifactError(
                f"the graph has signatures {sorted(known)}, its metadata says {sorted(meta.signatures)}; "
                "convert the model again"
            )
        expected: dict[str, tuple[tuple[int, ...], str]] = {}
        for info in meta.inputs:
            expected[f"inputs {info.name}"] = (
                (1, meta.unit, *info.shape) if info.time else (1, *info.shape),
                info.dtype,
            )
        for out in meta.outputs:
            steps = meta.unit * out.rate[0] // out.rate[1]
            expected[f"outputs {out.name}"] = ((1, steps, *out.shape), out.dtype)
        for pack in meta.packs:
            expected[f"inputs {pack.input}"] = expected[f"outputs {pack.output}"] = (
                (1, pack.size),
                pack.dtype,
            )
        for where, (shape, dtype) in expected.items():
            side, name = where.split(" ", 1)
            detail = signature.details[side][name]
            found = (tuple(int(n) for n in detail["shape"]), np.dtype(detail["dtype"]).name)
            if found != (shape, dtype):
                raise ArtifactError(
                    f"{side[:-1]} {name!r} of the graph is {found[1]} {found[0]}, its metadata says {dtype} {shape}; "
                    "convert the model again"
                )

    def _initial(self, index: int) -> np.ndarray:
        pack = self.metadata.packs[index]
        if pack.initial is None:
            row = np.zeros((1, pack.size), pack.dtype)
        else:
            data = self.files.get(pack.initial, b"")
            dtype = np.dtype(pack.dtype).newbyteorder("<")
            if len(data) != pack.size * dtype.itemsize:
                raise ArtifactError(
                    f"{pack.initial} does not hold the {pack.size} initial values; convert the model again"
                )
            row = np.frombuffer(data, dtype).astype(pack.dtype).reshape(1, pack.size)
        row.flags.writeable = False
        return row


def _stack(rows: Sequence[np.ndarray], unused: int) -> np.ndarray:
    return np.concatenate([*rows, *[np.zeros_like(rows[0])] * unused])
