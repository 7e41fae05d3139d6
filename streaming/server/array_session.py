"""The session of a model without a task: arrays in, arrays out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np

from streaming.errors import InputError
from streaming.runtime.batcher import StreamBatcher
from streaming.runtime.turns import CallFuture
from streaming.server.pace import Pace
from streaming.server.pieces import Pieces, cut_arrays
from streaming.server.sessions import Answer
from streaming.server.together import Together


class ArraySession:
    """Arrays in, arrays out.

    Args:
        batcher: of the model.
        binary: whether outputs go out as float32.
        pace: what a step costs.
        together: shares invokes among streams in the event loop; None where the model takes one stream at a time.
    """

    fields: tuple[str, ...] = ("x",)
    beside: tuple[str, ...] = ()
    threshold = None

    def __init__(
        self, batcher: StreamBatcher, binary: bool, pace: Pace | None = None, together: Together | None = None
    ) -> None:
        self._batcher, self._binary = batcher, binary
        self._pace, self._together = pace or Pace(), together
        self._stream = batcher.model.create_stream()
        self._inputs = batcher.model.metadata.inputs

    @property
    def position(self) -> int:
        return self._stream.position

    def read(self, body: dict[str, Any]) -> Pieces:
        arrays = [array[0] for array in self._batcher.model.inputs.read(body["x"], None, True)]
        return cut_arrays(arrays, self._batcher.model.metadata)

    def read_binary(self, data: bytes) -> Pieces:
        info = self._inputs[0]
        size = math.prod(info.shape)
        if len(self._inputs) > 1 or not info.dtype.startswith("float"):
            raise InputError("binary messages are for models with one input of floats; send JSON")
        if len(data) % (4 * size):
            raise InputError(f"got {len(data)} bytes, expected steps of {size} float32 ({4 * size} bytes) each")
        return self.read({"x": np.frombuffer(data, "<f4").reshape(-1, *info.shape)})

    async def quick(self, pieces: Pieces) -> Answer | None:
        if pieces.is_long or not self._pace.allows(pieces.steps):
            return None
        piece, stream = next(pieces), self._stream
        if self._together is None:
            rows = self._pace.run(pieces.steps, stream.feed, piece)
        else:
            rows = await self._together.call(pieces.steps, lambda: stream.feeding(stream.read(piece)), stream)
        return self._answer(rows), True

    async def feed(self, pieces: Pieces) -> AsyncGenerator[Answer, None]:
        piece = next(pieces)
        while piece is not None:
            rows = await _done(self._batcher.submit(self._stream, piece))
            piece = next(pieces, None)
            yield self._answer(rows), piece is None

    async def finish(self) -> AsyncGenerator[Answer, None]:
        yield self._answer(await _done(self._batcher.finish(self._stream))), True

    async def encode(self, x: Any) -> None:
        await _done(self._batcher.call(self._stream, self._stream.encode, x))

    def set_threshold(self, threshold: Any) -> None:
        raise InputError("a model without a task decides nothing by a threshold; set none")

    async def save(self) -> tuple[dict[str, Any], list[bytes]]:
        return {}, [self._stream.save()]  # none of its calls is pending

    def restore(self, context: dict[str, Any], blobs: list[bytes]) -> None:
        self._stream = self._batcher.model.restore(blobs[0])

    def _answer(self, rows: Any) -> dict[str, Any]:
        if self._binary:
            return {"rows": len(rows), "binary": np.ascontiguousarray(rows, "<f4").tobytes()}
        if isinstance(rows, dict):
            return {"y": {name: values.tolist() for name, values in rows.items()}}
        return {"y": rows.tolist()}


async def _done(future: CallFuture) -> Any:
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.abandon()
        raise
