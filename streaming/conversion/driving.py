"""Drives many converted streams over whole sequences, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from streaming.conversion.offline import Inputs
from streaming.conversion.plan import Plan
from streaming.runtime.batch import advance
from streaming.runtime.driving import give_source, joined, pieces_of

if TYPE_CHECKING:
    from streaming.runtime.model import StreamingModel
    from streaming.runtime.stream import Stream


def run_together(plan: Plan, model: StreamingModel, rows: Sequence[Inputs], size: int) -> list[Inputs]:
    """Runs one stream for each row, all of them in each invoke of `size` steps; returns the outputs by name."""
    streams = [model.create_stream() for _ in rows]
    for stream, inputs in zip(streams, rows, strict=True):
        give_source(stream, inputs)
    length = length_of(plan, rows[0])
    cuts = [] if size == model.chunk else list(range(size, length, size))
    pieces: list[list[Any]] = [[] for _ in rows]
    for parts in zip(*(pieces_of(model.metadata, inputs, cuts) for inputs in rows), strict=True):
        works = [stream.feeding(stream.read(part)) for stream, part in zip(streams, parts, strict=True)]
        for kept, value in zip(pieces, _in_step(model, streams, works), strict=True):
            kept.append(value)
    for kept, value in zip(pieces, _in_step(model, streams, [s.finishing() for s in streams]), strict=True):
        kept.append(value)
    return [joined(model.metadata, kept) for kept in pieces]


def _in_step(model: StreamingModel, streams: Sequence[Stream], works: Sequence[Any]) -> list[Any]:
    """Results of the same call of each stream, their invokes made together."""
    replies: list[Any] = [None] * len(works)
    while True:
        asked, done = [], []
        for work, reply in zip(works, replies, strict=True):
            try:
                asked.append(work.send(reply))
            except StopIteration as end:
                done.append(end.value)
        if done:
            return done
        replies, _ = advance(model, streams, [values for _, values in asked], asked[0][0])  # type: ignore[assignment]


def length_of(plan: Plan, inputs: Inputs) -> int:
    """Steps of a sequence."""
    return max(len(inputs[name]) for name, signal in plan.inputs.items() if signal.timeline)
