"""Many streams of one model in as few invokes as its batch signatures allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from streaming.errors import InputError, StreamingError
from streaming.runtime.stream import Arrays, Stream

if TYPE_CHECKING:
    from streaming.runtime.model import StreamingModel


def step_streams(model: StreamingModel, streams: Sequence[Stream], inputs: Sequence[Any]) -> list[Arrays]:
    """See `StreamingModel.step_streams`."""
    streams, inputs = list(streams), list(inputs)
    if len(streams) != len(inputs):
        raise InputError(f"got {len(streams)} streams and {len(inputs)} inputs; give one input for each stream")
    if len(set(map(id, streams))) < len(streams):
        raise StreamingError("a stream comes twice; step it once, and again in the next call")
    for stream in streams:
        if stream.model is not model:
            raise StreamingError("a stream belongs to another model; use the step_streams of its own model")
    if model.metadata.state == "internal":
        rows = [stream.read_step(x) for stream, x in zip(streams, inputs, strict=True)]
        return [stream.step(x) for stream, x in zip(streams, inputs, strict=True)] if rows else []
    if not streams:
        return []
    columns = _columns(model, streams, inputs)
    # Every invoke comes before the first stream moves: one that fails leaves all streams as they were.
    parts = [(part, batch, _invoke(model, streams[part], [c[part] for c in columns], batch))
             for part, batch in _parts(model, len(streams))]  # fmt: skip
    count = len(model.metadata.outputs) + sum(1 for out in model.metadata.outputs if out.valid)
    found: list[Arrays] = []
    for part, _, results in parts:
        slab = results[count:]
        found += [stream.accept(results, slab, row) for row, stream in enumerate(streams[part])]
    if model.inputs.static:
        for row, stream in enumerate(streams):
            stream.hold([column[row : row + 1] for column in columns])
    return found


def _parts(model: StreamingModel, total: int) -> Iterator[tuple[slice, int]]:
    """Slices of the streams, each with the batch of its invoke: the largest while full, then what fits."""
    begin = 0
    while begin < total:
        left = total - begin
        batch = next((size for size in model.batch_sizes if size >= left), model.batch_sizes[-1])
        yield slice(begin, min(begin + batch, total)), batch
        begin += batch


def _columns(model: StreamingModel, streams: Sequence[Stream], inputs: Sequence[Any]) -> list[np.ndarray]:
    """The chunks of all streams, one array (N, ...) an input, checked."""
    reader = model.inputs.single
    if reader is not None:
        shape, dtype = reader.chunk_shape, reader.dtype
        ready = all(type(x) is np.ndarray and x.dtype is dtype and x.shape == shape for x in inputs)
        if ready and all(stream.ready for stream in streams):
            column = np.concatenate(inputs).reshape(len(inputs), *shape)
            # One check for all; where it fails each stream's own policy decides.
            if reader.is_sound(column):
                return [column]
    rows = []
    for index, (stream, x) in enumerate(zip(streams, inputs, strict=True)):
        try:
            rows.append(stream.read_step(x))
        except StreamingError as error:
            raise type(error)(f"stream {index} of the batch: {error}") from None
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def _invoke(
    model: StreamingModel, streams: Sequence[Stream], columns: list[np.ndarray], batch: int
) -> list[np.ndarray]:
    unused = batch - len(streams)
    values = [_filled(column, column[:1], unused) for column in columns]
    if model.metadata.valid is not None:
        values.append(np.ones((batch, model.chunk), bool))
    return model.engines.get().run(batch, model.chunk)([*values, *_states(model, streams, batch)])


def _states(model: StreamingModel, streams: Sequence[Stream], batch: int) -> Sequence[np.ndarray]:
    """The states of all streams, (B, size) each: the slab of the last invoke where they still lie in it in order."""
    slab = streams[0].slab
    if slab and len(slab[0]) == batch and all(s.lies_in(slab, row) for row, s in enumerate(streams)):
        return slab
    unused = batch - len(streams)
    columns = [np.concatenate(column) for column in zip(*(s.states() for s in streams), strict=True)]
    return [_filled(c, row, unused) for c, row in zip(columns, model.initial_state, strict=True)]


def _filled(column: np.ndarray, row: np.ndarray, unused: int) -> np.ndarray:
    return np.concatenate([column, *[row] * unused]) if unused else column
