"""Runs a stream over a whole sequence, in pieces, and concatenates its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.runtime.metadata import Metadata
from streaming.runtime.stream import Stream


def run_whole(stream: Stream, inputs: Mapping[str, NDArray[Any]], cuts: Sequence[int] = ()) -> dict[str, NDArray[Any]]:
    """Resets a stream, feeds it a whole sequence and finishes it; returns the outputs by name, as real numbers.

    Args:
        stream: of a model; its state is lost.
        inputs: by name, without a batch axis: (T, *features), (*features) where there is no time axis, and those of
            signature `encode` where the model has one.
        cuts: steps, in rising order, between which the pieces are fed; none for one piece.
    """
    meta = stream.model.metadata
    stream.reset()
    give_source(stream, inputs)
    pieces = [stream.feed(part) for part in pieces_of(meta, inputs, cuts)]
    outputs = joined(meta, [*pieces, stream.finish()])
    return {info.name: info.dequantize(outputs[info.name]) for info in meta.outputs}


def give_source(stream: Stream, inputs: Mapping[str, NDArray[Any]]) -> None:
    """Signature `encode`, where the model has one."""
    encode = stream.model.metadata.encode
    if encode is not None:
        stream.encode({info.name: inputs[info.name] for info in encode.inputs})


def pieces_of(
    meta: Metadata, inputs: Mapping[str, NDArray[Any]], cuts: Sequence[int] = ()
) -> Iterator[dict[str, NDArray[Any]]]:
    """The inputs of a stream between the cuts; those without a time axis are given whole with each piece."""
    for begin, end in zip([0, *cuts], [*cuts, None], strict=True):
        yield {i.name: inputs[i.name][begin:end] if i.time else inputs[i.name] for i in meta.inputs}


def joined(meta: Metadata, pieces: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Outputs of several calls, one after the other, by name."""
    first = meta.outputs[0].name
    named = [piece if isinstance(piece, dict) else {first: piece} for piece in pieces]
    return {info.name: np.concatenate([piece[info.name] for piece in named]) for info in meta.outputs}
