"""Many streams of one model in as few invokes as its batch signatures allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from streaming.errors import InputError, StreamingError
from streaming.runtime.outputs import Arrays
from streaming.runtime.slab import Slab
from streaming.runtime.stream import Stream

if TYPE_CHECKING:
    from streaming.runtime.model import StreamingModel


def step_streams(model: StreamingModel, streams: Sequence[Stream], inputs: Sequence[Any]) -> list[Arrays]:
    """See `StreamingModel.step_streams`."""
    streams, inputs = list(streams), list(inputs)
    if len(streams) != len(inputs):
        raise InputError(f"got {len(streams)} streams and {len(inputs)} inputs; give one input for each stream")
    if not streams:
        return []
    if Slab.of(streams) is None or streams[0].model is not model:
        _check_streams(model, streams)
    columns = _columns(model, streams, inputs)
    if model.metadata.state == "internal":
        return [stream.step(x) for stream, x in zip(streams, inputs, strict=True)]
    values = columns if model.metadata.valid is None else [*columns, np.ones((len(streams), model.chunk), bool)]
    found = [
        stream.take(results, row)
        for members, results in _invoke(model, streams, values, model.chunk)
        for row, stream in enumerate(members)
    ]
    if model.inputs.static:
        for row, stream in enumerate(streams):
            stream.hold([column[row : row + 1] for column in columns])
    return found


def advance(
    model: StreamingModel, streams: Sequence[Stream], values: Sequence[Sequence[np.ndarray]], size: int
) -> tuple[Sequence[Sequence[np.ndarray]], list[int]]:
    """Take different streams `size` steps on, each by its inputs and mask (1, ...); where it fails none has moved.

    Returns what the invokes gave to each stream, arrays (1, ...), and the batch of each invoke.
    """
    if model.metadata.state == "internal":
        return [stream.invoke(size, part) for stream, part in zip(streams, values, strict=True)], [1] * len(streams)
    columns = [np.concatenate(column) for column in zip(*values, strict=True)]
    invoked = _invoke(model, streams, columns, size)
    # Copies, so that who keeps the outputs of one stream does not keep those of all.
    found = [
        [array[row : row + 1].copy() for array in results[: model.outputs.count]]
        for members, results in invoked
        for row in range(len(members))
    ]
    return found, [len(results[0]) for _, results in invoked]


def _check_streams(model: StreamingModel, streams: Sequence[Stream]) -> None:
    if len(set(map(id, streams))) < len(streams):
        raise StreamingError("a stream comes twice; step it once, and again in the next call")
    if any(stream.model is not model for stream in streams):
        raise StreamingError("a stream belongs to another model; use the step_streams of its own model")
    index = 0
    try:
        for index, stream in enumerate(streams):  # noqa: B007 - the handler names it
            stream.check_ready()
    except StreamingError as error:
        raise _named(error, index) from None


def _parts(sizes: Sequence[int], total: int) -> Iterator[tuple[slice, int]]:
    """Slices of the streams, each with the batch of its invoke: the largest while full, then what fits.

    A batch that is not half full costs more than smaller ones: its unused rows are computed too.
    """
    begin = 0
    while begin < total:
        left = total - begin
        batch = max(size for size in sizes if size <= 2 * left)
        batch = next((size for size in sizes if left <= size <= batch), batch)
        yield slice(begin, min(begin + batch, total)), batch
        begin += batch


def _columns(model: StreamingModel, streams: Sequence[Stream], inputs: Sequence[Any]) -> list[np.ndarray]:
    """The chunks of all streams, one array (N, ...) an input, checked."""
    reader = model.inputs.single
    if reader is not None and _are_alike(inputs, reader.chunk_shape, reader.dtype):
        column = np.concatenate(inputs).reshape(len(inputs), *reader.chunk_shape)
        # One check for all; where it fails each stream's own policy decides.
        if reader.is_sound(column):
            return [column]
    rows: list[list[np.ndarray]] = []
    try:
        for stream, x in zip(streams, inputs, strict=True):
            rows.append(stream.read(x, model.chunk))
    except StreamingError as error:
        raise _named(error, len(rows)) from None
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def _are_alike(inputs: Sequence[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    try:
        return [x.shape for x in inputs] == [shape] * len(inputs) and {x.dtype for x in inputs} == {dtype}
    except AttributeError:
        return False


def _named(error: StreamingError, index: int) -> StreamingError:
    return type(error)(f"stream {index} of the batch: {error}")


def _invoke(
    model: StreamingModel, streams: Sequence[Stream], columns: Sequence[np.ndarray], size: int
) -> list[tuple[Sequence[Stream], list[np.ndarray]]]:
    """Run `size` steps of all streams and move their states: the members of each invoke and what it returned."""
    runs: list[tuple[Sequence[Stream], Slab | None, list[np.ndarray]]] = []
    for part, batch in _parts(model.batches[size], len(streams)):
        members = streams[part]
        slab, unused = Slab.of(members), batch - len(members)
        if slab is not None and any(len(array) != batch for array in slab.arrays):
            slab = None
        states = slab.arrays if slab is not None else _gather(model, members, unused)
        values = [_filled(column[part], column[:1], unused) for column in columns]
        runs.append((members, slab, model.engines.get().run(batch, size)([*values, *states])))
    # Every invoke comes before the first stream moves: one that fails leaves all streams as they were.
    for members, slab, results in runs:
        states = results[model.outputs.count :]
        if slab is not None:
            slab.arrays = states
        elif len(members) == 1:
            members[0].put_states(states)
        else:
            Slab(states, members)
    return [(members, results) for members, _, results in runs]


def _gather(model: StreamingModel, streams: Sequence[Stream], unused: int) -> list[np.ndarray]:
    columns = [np.concatenate(column) for column in zip(*(s.states() for s in streams), strict=True)]
    return [_filled(c, row, unused) for c, row in zip(columns, model.initial_state, strict=True)]


def _filled(column: np.ndarray, row: np.ndarray, unused: int) -> np.ndarray:
    return np.concatenate([column, *[row] * unused]) if unused else column
