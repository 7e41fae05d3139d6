"""Running text as one row of numbers, and its windows for a training with carried state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from streaming.errors import ArtifactError
from streaming.runtime.codec import TextCodec

_FILE = "target.json"


@dataclass(frozen=True)
class TextEncoder:
    """Text to `tokens`.

    Args:
        codec: the vocabulary; it travels with the model to the device.
    """

    inputs: ClassVar[tuple[str, ...]] = ("tokens",)
    codec: TextCodec

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the model's outputs, in their order."""
        return self.codec.entries

    def to_files(self) -> dict[str, bytes]:
        """The codec as the generator of `streaming` reads it."""
        return {_FILE: self.codec.to_bytes()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> TextEncoder:
        """Read what `to_files` wrote; raises ArtifactError where it is missing or damaged."""
        if _FILE not in files:
            raise ArtifactError(f"{_FILE} is missing; take the files of one run")
        return cls(TextCodec.from_bytes(files[_FILE]))


def window_count(length: int, rows: int, window: int) -> int:
    """Windows of one pass over `length` tokens, whatever its offset."""
    return max(0, (length - window) // (rows * window))


def windows(
    tokens: NDArray[Any], rows: int, window: int, offset: int = 0
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Contiguous windows of a text that is cut into rows: row b of a window continues row b of the one before.

    Args:
        tokens: (N,).
        rows: B.
        window: steps T of a window.
        offset: tokens left out at the beginning, fewer than `window`, so that passes cut at different places.

    Yields:
        Tokens (B, T), and those that follow each of them (B, T).
    """
    count = window_count(len(tokens), rows, window)
    length = rows * count * window
    inputs = tokens[offset : offset + length].reshape(rows, count * window)
    targets = tokens[offset + 1 : offset + 1 + length].reshape(rows, count * window)
    for i in range(0, count * window, window):
        yield inputs[:, i : i + window], targets[:, i : i + window]
