"""Protocols by which lower parts of the runtime use higher ones, so that imports go one way.

slab <- stream <- batch <- turns <- batcher <- model: a stream uses its model, and a slab its streams, only by these
protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from streaming.runtime.inputs import Inputs, SourceReader
from streaming.runtime.interpreter import EnginePool, Recipe
from streaming.runtime.metadata import Metadata
from streaming.runtime.outputs import Arrays, Outputs


class ModelParts(Protocol):
    """A loaded model, such as `StreamingModel`, as its streams and their batches use it."""

    @property
    def metadata(self) -> Metadata:
        """All that `streaming.json` says."""

    @property
    def inputs(self) -> Inputs:
        """Reads the inputs."""

    @property
    def outputs(self) -> Outputs:
        """Selects and names the output rows."""

    @property
    def source(self) -> SourceReader | None:
        """Reads the input of `encode`; None for a model without it."""

    @property
    def recipe(self) -> Recipe:
        """Makes an engine."""

    @property
    def engines(self) -> EnginePool:
        """The engine of each thread."""

    @property
    def initial_state(self) -> tuple[NDArray[Any], ...]:
        """The packs of states of a fresh stream, (1, size) each."""

    @property
    def batches(self) -> Mapping[int, list[int]]:
        """Steps of a signature -> how many streams it takes, in rising order."""

    @property
    def batch_sizes(self) -> list[int]:
        """How many streams an invoke of one chunk can take, in rising order."""

    @property
    def batcher(self) -> Any:
        """The `StreamBatcher` of asynchronous calls."""

    @property
    def chunk(self) -> int:
        """Steps that `Stream.step` takes."""

    @property
    def window(self) -> int | None:
        """Steps of a window; None where state is carried."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the flatbuffer."""

    def create_stream(self, *, nan: str = "raise") -> Any:
        """A fresh stream of this model."""

    def restore(self, blob: bytes) -> Any:
        """A stream that `Stream.save` has written."""

    def step_streams(self, streams: Sequence[Any], inputs: Sequence[Any]) -> list[Arrays]:
        """Step streams of this model together."""


class SlabMember(Protocol):
    """A stream whose states may lie in a slab: `slab` and `row` say where; without one, `own` holds them."""

    own: Sequence[NDArray[Any]]
    slab: Any
    row: int

    def skip(self, steps: int) -> None:
        """Count steps that were taken together with others."""
