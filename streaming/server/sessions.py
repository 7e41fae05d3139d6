"""What a session is: it applies a client's messages to a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from streaming.server.pieces import Pieces

# Fields of an output message, and whether it is the last of its answer.
Answer = tuple[dict[str, Any], bool]


class Session(Protocol):
    """One sequence of one client. A call that fails leaves it as it was.

    Attributes:
        fields: of a `feed` message, in which it takes steps; `beside`: those that may come beside.
        position: how many steps (words, samples, rows) it has taken.
        threshold: the probability that it decides by; None where it decides without one.
    """

    fields: tuple[str, ...]
    beside: tuple[str, ...]

    @property
    def threshold(self) -> float | None: ...

    @property
    def position(self) -> int: ...

    def read(self, body: dict[str, Any]) -> Pieces:
        """The pieces of a `feed` message, all checked before the first is taken; raises InputError."""

    def read_binary(self, data: bytes) -> Pieces:
        """The same for a binary message, float32 in little-endian."""

    async def quick(self, pieces: Pieces) -> Answer | None:
        """The answer to a short message, worked out in the event loop; None where `feed` is to take it."""

    def feed(self, pieces: Pieces) -> AsyncGenerator[Answer, None]:
        """Take pieces, one after the other."""

    def finish(self) -> AsyncGenerator[Answer, None]:
        """End the sequence."""

    async def encode(self, x: Any) -> None:
        """Take the whole input that comes before the first step."""

    def set_threshold(self, threshold: Any) -> None:
        """Decide by another threshold from the next step on; raises InputError where that cannot be."""

    async def save(self) -> tuple[dict[str, Any], list[bytes]]:
        """All that `restore` needs: JSON, and bytes."""

    def restore(self, context: dict[str, Any], blobs: list[bytes]) -> None:
        """Make a fresh session go on where another was saved."""
