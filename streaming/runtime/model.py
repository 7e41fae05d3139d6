"""A streaming model: read once, verified, shared by any number of streams and threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError
from streaming.runtime import agreement, artifact, batch, verifier
from streaming.runtime.artifact import Artifact
from streaming.runtime.batcher import StreamBatcher
from streaming.runtime.failures import memory_for
from streaming.runtime.inputs import Inputs, SourceReader
from streaming.runtime.interpreter import FILL, Engine, EnginePool, resolve
from streaming.runtime.isolated import IsolatedEngine
from streaming.runtime.metadata import InputInfo, Metadata, OutputInfo
from streaming.runtime.outputs import Arrays, Outputs
from streaming.runtime.stream import Stream


def load(
    path: str | os.PathLike[str],
    runtime: str = "auto",
    num_threads: int = 1,
    *,
    trust: bool = False,
    isolated: bool = False,
    real: bool = False,
) -> StreamingModel:
    """Load a file made by `streaming.convert`.

    Args:
        path: the .tflite file, or a folder that holds it as `float32.tflite` (a bundle of the zoo).
        runtime: "litert", "tflite_runtime" or "tf"; "auto" takes the first of them that is installed.
        num_threads: threads of each interpreter.
        trust: accept operations that `streaming` does not verify. A forged file can then do anything that you can do.
        isolated: run each interpreter in a process of its own, which may crash or hang without harm to this one; a
            step takes about a tenth of a millisecond more.
        real: outputs whose integers stand for real numbers, as of int8 files for microcontrollers, come as these in
            float32, as those of a float32 file; inputs take real numbers in any case.

    Raises:
        ArtifactError: the file is missing, damaged, forged, foreign, or its metadata and graph disagree.
        InputError: the runtime is unknown or not installed.
        OutOfMemoryError: there is too little memory.
    """
    with memory_for(str(path)):
        return StreamingModel(artifact.read(path), runtime, num_threads, trust=trust, isolated=isolated, real=real)


class StreamingModel:
    """An immutable model, safe to use from any thread: each thread runs an interpreter of its own.

    Streams may be used from any thread too, one thread at a time.

    Attributes:
        metadata: all that `streaming.json` says.
        files: the associated files by name.
        runtime: the name of the runtime in use.
    """

    def __init__(
        self,
        content: Artifact,
        runtime: str = "auto",
        num_threads: int = 1,
        *,
        trust: bool = False,
        isolated: bool = False,
        real: bool = False,
    ) -> None:
        if not isinstance(num_threads, int) or num_threads < 1:
            raise InputError(f"num_threads is {num_threads!r}, expected a whole number, 1 or more")
        self.metadata: Metadata = content.metadata
        self.files: Mapping[str, bytes] = MappingProxyType(dict(content.files))
        self.runtime, factory = resolve(runtime)
        meta = self.metadata
        agreement.check_metadata(meta)
        verifier.verify(content.flatbuffer, content.digest, trust=trust)
        make = partial(IsolatedEngine, runtime=self.runtime, meta=meta) if isolated else None
        self.recipe = agreement.recipe(meta, factory, content.flatbuffer, num_threads, make)
        self.source = SourceReader(meta.encode, meta.flags) if meta.encode else None
        sizes = {meta.unit, meta.chunk}
        self.batches = {n: sorted(batch for batch, size in self.recipe.signatures if size == n) for n in sizes}
        if self.recipe.fill is not None:
            self.batches[FILL] = [1]
        self._making = threading.Lock()
        self._batcher: StreamBatcher | None = None
        self.engines = EnginePool(self.recipe, self._first_engine())
        self.inputs = Inputs(meta.inputs, meta.chunk, self.files, meta.flags)
        self.outputs = Outputs(meta, real)
        self.initial_state = tuple(self._initial(index) for index in range(len(meta.packs)))

    def _first_engine(self) -> Engine:
        if self.recipe.make is not None:
            return self.recipe.engine()
        interpreter = self.recipe.open()
        agreement.check_graph(self.metadata, interpreter)
        return Engine(self.recipe, interpreter)

    @property
    def delay(self) -> int:
        """Input steps between an input and the output of its position."""
        return self.metadata.delay

    @property
    def window(self) -> int | None:
        """Steps of the window that each output row is computed from; None where the stream carries its state."""
        return self.metadata.window

    @property
    def hop(self) -> int:
        """Steps between two windows, 1 where there are none."""
        return self.metadata.hop

    def last_step(self, row: int) -> int:
        """The input step, counted from 0, that completes an output row; for windows the last step of the window."""
        meta = self.metadata
        if meta.window is not None:
            first = (meta.window % meta.hop or meta.hop) if meta.pad else meta.window
            return first + row * meta.hop - 1
        up, down = meta.outputs[0].rate
        return -(-(row + 1) * down // up) - 1

    @property
    def batch_sizes(self) -> list[int]:
        """How many streams an invoke of one chunk can take, in rising order."""
        return self.batches[self.chunk]

    @property
    def batcher(self) -> StreamBatcher:
        """Batcher that runs the asynchronous calls of this model's streams; made when it is first asked for."""
        with self._making:
            if self._batcher is None or not self._batcher.is_here:
                self._batcher = StreamBatcher(self, max_wait=0, max_pending=2**31)
            return self._batcher

    @property
    def chunk(self) -> int:
        """Steps that `Stream.step` takes."""
        return self.metadata.chunk

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the flatbuffer, in hex: the identity of the model."""
        return self.metadata.fingerprint

    @property
    def input_spec(self) -> dict[str, InputInfo]:
        """Inputs by name."""
        return {info.name: info for info in self.metadata.inputs}

    @property
    def output_spec(self) -> dict[str, OutputInfo]:
        """Outputs by name."""
        return {info.name: info for info in self.metadata.outputs}

    def create_stream(self, *, nan: str = "raise") -> Stream:
        """A new stream in its initial state. `nan`: "raise" refuses NaN and infinity in inputs, "pass" takes them."""
        with memory_for("another stream"):
            return Stream(self, nan=nan)

    def restore(self, blob: bytes) -> Stream:
        """The stream that `Stream.save` wrote, in this process or another.

        Raises StateMismatchError for another model's or another version's blob, or a damaged one.
        """
        with memory_for("another stream"):
            return Stream.from_bytes(self, blob)

    def step_streams(self, streams: Sequence[Stream], inputs: Sequence[Any]) -> list[Arrays]:
        """Step many streams by one chunk each, in as few invokes as the batch signatures allow.

        Args:
            streams: different open streams of this model.
            inputs: one input for each, as for `Stream.step`; one array of all, (streams, chunk, *features), saves
                joining them.

        Returns:
            For each stream what its `step` would have returned; arrays of one call may share memory.

        Raises:
            InputError: an input is wrong.
            StreamingError: a stream is closed, comes twice, or belongs to another model.

        Where the call fails no stream has moved.
        """
        return batch.step_streams(self, streams, inputs)

    def _initial(self, index: int) -> NDArray[Any]:
        pack = self.metadata.packs[index]
        row = np.zeros((1, pack.size), pack.dtype)
        if pack.initial is not None:
            data = self.files.get(pack.initial, b"")
            if len(data) != row.nbytes:
                raise ArtifactError(
                    f"{pack.initial} has {len(data)} bytes, expected the {row.nbytes} of the initial state; "
                    "convert the model again"
                )
            row[:] = np.frombuffer(data, row.dtype.newbyteorder("<"))
        row.flags.writeable = False
        return row
