"""A streaming model: read once, verified, shared by any number of streams and threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from streaming.errors import ArtifactError, InputError
from streaming.runtime import agreement, artifact, batch, verifier
from streaming.runtime.artifact import Artifact
from streaming.runtime.batcher import StreamBatcher
from streaming.runtime.inputs import Inputs, SourceReader
from streaming.runtime.interpreter import FILL, Engine, EnginePool, Recipe, resolve
from streaming.runtime.metadata import InputInfo, Metadata, OutputInfo
from streaming.runtime.outputs import Arrays, Outputs
from streaming.runtime.stream import Stream


def load(path: str | os.PathLike[str], runtime: str = "auto", num_threads: int = 1) -> StreamingModel:
    """Load a file made by `streaming.convert`.

    Args:
        path: the .tflite file, or a folder that holds it as `float32.tflite` (a bundle of the zoo).
        runtime: "litert", "tflite_runtime" or "tf"; "auto" takes the first of them that is installed.
        num_threads: threads of each interpreter.

    Raises:
        ArtifactError: the file is missing, damaged, foreign, or its metadata and graph disagree.
        InputError: the runtime is unknown or not installed.
    """
    return StreamingModel(artifact.read(path), runtime, num_threads)


class StreamingModel:
    """An immutable model, safe to use from any thread: each thread runs an interpreter of its own.

    Streams may be used from any thread too, one thread at a time.

    Attributes:
        metadata: all that `streaming.json` says.
        files: the associated files by name.
        runtime: the name of the runtime in use.
    """

    def __init__(self, content: Artifact, runtime: str = "auto", num_threads: int = 1) -> None:
        if not isinstance(num_threads, int) or num_threads < 1:
            raise InputError(f"num_threads is {num_threads!r}, expected a whole number, 1 or more")
        self.metadata: Metadata = content.metadata
        self.files: Mapping[str, bytes] = MappingProxyType(dict(content.files))
        self.runtime, factory = resolve(runtime)
        meta = self.metadata
        agreement.check_metadata(meta)
        verifier.verify(content.flatbuffer)
        self.recipe = Recipe(
            factory=factory,
            flatbuffer=content.flatbuffer,
            num_threads=num_threads,
            signatures=agreement.step_signatures(meta),
            inputs=agreement.input_names(meta),
            outputs=agreement.output_shapes(meta),
            chunk=meta.chunk,
            encode=list(agreement.encode_inputs(meta)) if meta.encode else None,
            fill=agreement.fill_inputs(meta) if "fill" in meta.signatures else None,
            rows=[np.zeros((1, 0, *out.shape), out.dtype) for out in meta.outputs],
            resets="reset" in meta.signatures,
        )
        self.source = SourceReader(meta.encode) if meta.encode else None
        sizes = {meta.unit, meta.chunk}
        self.batches = {n: sorted(batch for batch, size in self.recipe.signatures if size == n) for n in sizes}
        if self.recipe.fill is not None:
            self.batches[FILL] = [1]
        self._making = threading.Lock()
        self._batcher: StreamBatcher | None = None
        interpreter = self.recipe.open()
        agreement.check_graph(meta, interpreter)
        self.engines = EnginePool(self.recipe, Engine(self.recipe, interpreter))
        self.inputs = Inputs(meta.inputs, meta.chunk)
        self.outputs = Outputs(meta)
        self.initial_state = tuple(self._initial(index) for index in range(len(meta.packs)))

    @property
    def delay(self) -> int:
        """Input steps between an input and the output of its position."""
        return self.metadata.delay

    @property
    def window(self) -> int | None:
        """Steps of the window that each output row is the model of; None where the stream carries its state on."""
        return self.metadata.window

    @property
    def hop(self) -> int:
        """Steps between two windows, 1 where there are none."""
        return self.metadata.hop

    @property
    def batch_sizes(self) -> list[int]:
        """How many streams an invoke of one chunk can take, in rising order."""
        return self.batches[self.chunk]

    @property
    def batcher(self) -> StreamBatcher:
        """What runs the asynchronous calls of this model's streams, made when it is first asked for."""
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
        return Stream(self, nan=nan)

    def restore(self, blob: bytes) -> Stream:
        """The stream that `Stream.save` wrote, in this process or another.

        Raises StateMismatchError for another model's or another version's blob, or a damaged one.
        """
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

    def _initial(self, index: int) -> np.ndarray:
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
