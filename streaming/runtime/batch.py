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
    if not streams:
        return []
    parts = list(_parts(model, len(streams)))
    slabs = [Stream.common_slab(streams[part]) for part, _ in parts]
    if len(parts) > 1 or slabs[0] is None or streams[0].model is not model:
        _check_streams(model, streams)
    columns = _columns(model, streams, inputs)
    if model.metadata.state == "internal":
        return [stream.step(x) for stream, x in zip(streams, inputs, strict=True)]
    # Every invoke comes before the first stream moves: one that fails leaves all streams as they were.
    invoked = [
        _invoke(model, streams[part], [column[part] for column in columns], batch, slab)
        for (part, batch), slab in zip(parts, slabs, strict=True)
    ]
    found: list[Arrays] = []
    for (part, _), results in zip(parts, invoked, strict=True):
        found += Stream.accept(streams[part], results)
    if model.inputs.static:
        for row, stream in enumerate(streams):
            stream.hold([column[row : row + 1] for column in columns])
    return found


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
    if reader is not None and _are_alike(inputs, reader.chunk_shape, reader.dtype):
        column = np.concatenate(inputs).reshape(len(inputs), *reader.chunk_shape)
        # One check for all; where it fails each stream's own policy decides.
        if reader.is_sound(column):
            return [column]
    rows: list[list[np.ndarray]] = []
    try:
        for stream, x in zip(streams, inputs, strict=True):
            rows.append(stream.read_step(x))
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
    model: StreamingModel,
    streams: Sequence[Stream],
    columns: list[np.ndarray],
    batch: int,
    slab: Sequence[np.ndarray] | None,
) -> list[np.ndarray]:
    unused = batch - len(streams)
    values = [_filled(column, column[:1], unused) for column in columns]
    if model.metadata.valid is not None:
        values.append(np.ones((batch, model.chunk), bool))
    if slab is None or any(len(array) != batch for array in slab):
        slab = _gather(model, streams, unused)
    return model.engines.get().run(batch, model.chunk)([*values, *slab])


def _gather(model: StreamingModel, streams: Sequence[Stream], unused: int) -> list[np.ndarray]:
    columns = [np.concatenate(column) for column in zip(*(s.states() for s in streams), strict=True)]
    return [_filled(c, row, unused) for c, row in zip(columns, model.initial_state, strict=True)]


def _filled(column: np.ndarray, row: np.ndarray, unused: int) -> np.ndarray:
    return np.concatenate([column, *[row] * unused]) if unused else column


def advance(
    model: StreamingModel, streams: Sequence[Stream], values: Sequence[Sequence[np.ndarray]], size: int
) -> tuple[list[list[np.ndarray]], list[int]]:
    """Take different streams `size` steps on, each by its inputs and mask (1, ...).

    Returns what the invokes returned for each stream, arrays (1, ...), and the batch of each invoke.
    """
    found: list[list[np.ndarray]] = []
    batches: list[int] = []
    count = len(model.recipe.outputs) - sum(1 for pack in model.metadata.packs if pack.output)
    for part, batch in _parts(model, len(streams)):
        members = streams[part]
        unused = batch - len(members)
        columns = [np.concatenate(column) for column in zip(*values[part], strict=True)]
        slab = _gather(model, members, unused)
        run = model.engines.get().run(batch, size)
        results = run([*(_filled(column, column[:1], unused) for column in columns), *slab])
        for row, stream in enumerate(members):
            rows = [array[row : row + 1].copy() for array in results]
            stream.put_states(rows[count:])
            found.append(rows)
        batches.append(batch)
    return found, batches
