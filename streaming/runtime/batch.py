"""Many streams of one model in as few invokes as its batch signatures allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError, StreamingError
from streaming.runtime.contract import ModelParts
from streaming.runtime.outputs import Arrays
from streaming.runtime.slab import Slab
from streaming.runtime.stream import Stream


def step_streams(model: ModelParts, streams: Sequence[Stream], inputs: Sequence[Any]) -> list[Arrays]:
    """See `StreamingModel.step_streams`."""
    streams, inputs = list(streams), inputs if isinstance(inputs, np.ndarray) else list(inputs)
    if len(streams) != len(inputs):
        raise InputError(f"got {len(streams)} streams and {len(inputs)} inputs; give one input for each stream")
    if not streams:
        return []
    runs = _plan(model, streams, model.chunk)
    if len(runs) > 1 or runs[0].slab is None or streams[0].model is not model:
        _check_streams(model, streams)
    columns = _columns(model, streams, inputs)
    if model.metadata.state == "internal" or model.metadata.lead:
        return [stream.step(x) for stream, x in zip(streams, inputs, strict=True)]
    flags = model.metadata.flags
    values = columns if model.metadata.valid is None else [*columns, np.ones((len(streams), model.chunk), flags)]
    _invoke(model, runs, values, model.chunk)
    outputs = [rows for run in runs for rows in _taken(model, run)]
    if model.inputs.static:
        for row, stream in enumerate(streams):
            stream.hold([column[row : row + 1] for column in columns])
    return outputs


def advance(
    model: ModelParts, streams: Sequence[Stream], values: Sequence[Sequence[NDArray[Any]]], size: int
) -> tuple[Sequence[Sequence[NDArray[Any]]], list[int]]:
    """Advance different streams by `size` steps, each by its inputs and mask (1, ...); on failure no stream moves.

    Returns the results of each stream, arrays (1, ...), and the batch of each invoke.
    """
    if model.metadata.state == "internal":
        return [stream.invoke(size, part) for stream, part in zip(streams, values, strict=True)], [1] * len(streams)
    columns = [np.concatenate(column) for column in zip(*values, strict=True)]
    runs = _plan(model, streams, size)
    _invoke(model, runs, columns, size)
    # Copies, so that who keeps the outputs of one stream does not keep those of all.
    outputs = [
        [array[row : row + 1].copy() for array in run.results[: model.outputs.count]]
        for run in runs
        for row in range(len(run.streams))
    ]
    return outputs, [run.batch for run in runs]


class _Run:
    """One invoke of `batch` rows for the streams at `place` of all, whose states are in `slab` if in one."""

    def __init__(self, streams: Sequence[Stream], place: slice, batch: int) -> None:
        self.streams = streams if place == slice(0, len(streams)) else streams[place]
        self.place, self.batch = place, batch
        self.slab = Slab.of(self.streams)
        if self.slab is not None and any(len(array) != batch for array in self.slab.arrays):
            self.slab = None
        self.results: list[NDArray[Any]] = []


def _plan(model: ModelParts, streams: Sequence[Stream], size: int) -> list[_Run]:
    """The invokes of `size` steps for all streams, each with the largest batch while full, then with what fits.

    A batch that is not half full costs more than smaller ones: its unused rows are computed too.
    """
    begin, runs = 0, []
    for batch in batches_of(model.batches[size], len(streams)):
        runs.append(_Run(streams, slice(begin, begin + batch), batch))
        begin += batch
    return runs


def batches_of(sizes: Sequence[int], count: int) -> list[int]:
    """The batches of the invokes for so many streams; `sizes`: of the signatures, in rising order."""
    batches, left = [], count
    while left > 0:
        batch = max(size for size in sizes if size <= 2 * left)
        batch = next((size for size in sizes if left <= size <= batch), batch)
        batches.append(batch)
        left -= batch
    return batches


def _check_streams(model: ModelParts, streams: Sequence[Stream]) -> None:
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


def _columns(model: ModelParts, streams: Sequence[Stream], inputs: Sequence[Any]) -> list[NDArray[Any]]:
    """The chunks of all streams, one array (N, ...) an input, checked."""
    reader = model.inputs.single
    if reader is not None:
        joined = _whole if isinstance(inputs, np.ndarray) else _joined
        column = joined(inputs, reader.chunk_shape, reader.dtype)
        # One check for all; where it fails each stream's own policy decides.
        if column is not None and reader.is_sound(column):
            return [column]
    rows: list[list[NDArray[Any]]] = []
    try:
        for stream, x in zip(streams, inputs, strict=True):
            rows.append(stream.read(x, model.chunk))
    except StreamingError as error:
        raise _named(error, len(rows)) from None
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def _joined(inputs: Sequence[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Inputs of just this shape and dtype as one array; None where any differs."""
    count = len(inputs)
    try:
        if [x.dtype for x in inputs].count(dtype) == count and [x.shape for x in inputs].count(shape) == count:
            # The fastest way to join many small arrays; it takes contiguous ones alone.
            return np.frombuffer(b"".join(inputs), dtype).reshape(count, *shape)
    except (AttributeError, TypeError, ValueError, BufferError):
        pass
    return None


def _whole(inputs: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Inputs that are one array of just this shape and dtype already; None where they are not."""
    return inputs if inputs.dtype == dtype and inputs.shape[1:] == shape else None


def _named(error: StreamingError, index: int) -> StreamingError:
    return type(error)(f"stream {index} of the batch: {error}")


def _invoke(model: ModelParts, runs: Sequence[_Run], columns: Sequence[NDArray[Any]], size: int) -> None:
    """Take all streams `size` steps on. Every invoke comes before the first stream moves."""
    engine = model.engines.get()
    for run in runs:
        unused = run.batch - len(run.streams)
        states = _gather(model, run.streams, unused) if run.slab is None else run.slab.arrays
        values = [_filled(column[run.place], column[:1], unused) for column in columns]
        run.results = engine.run(run.batch, size)([*values, *states])
    for run in runs:
        states = run.results[model.outputs.count :]
        if run.slab is not None:
            run.slab.arrays = states
        elif len(run.streams) == 1:
            run.streams[0].put_states(states)
        else:
            run.slab = Slab(states, run.streams)


def _taken(model: ModelParts, run: _Run) -> list[Arrays]:
    """`Stream.take` of all streams of a run, at once where all are past the first position with an output."""
    slab, outputs = run.slab, model.outputs
    if slab is not None and outputs.plain and slab.past >= outputs.start:
        slab.count(model.chunk)
        return [*run.results[0][: len(run.streams)]]
    if slab is not None:
        slab.settle()
    rows = [stream.take(run.results, row) for row, stream in enumerate(run.streams)]
    if slab is not None:
        slab.past = min(stream.position for stream in run.streams)
    return rows


def _gather(model: ModelParts, streams: Sequence[Stream], unused: int) -> list[NDArray[Any]]:
    columns = [np.concatenate(column) for column in zip(*(s.states() for s in streams), strict=True)]
    return [_filled(c, row, unused) for c, row in zip(columns, model.initial_state, strict=True)]


def _filled(column: NDArray[Any], row: NDArray[Any], unused: int) -> NDArray[Any]:
    return np.concatenate([column, *[row] * unused]) if unused else column
