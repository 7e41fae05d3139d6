"""Texts and their translations as the numbers of an encoder-decoder model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.batching import Arrays
from streaming.errors import ArtifactError
from streaming.runtime.codec import END, PAD, START, TextCodec

if TYPE_CHECKING:
    from rnnzoo.data.config import PairsConfig
    from rnnzoo.data.source import Example

_FILES = ("source.json", "target.json")


@dataclass(frozen=True)
class PairEncoder:
    """Encodes pairs of texts as `source`, `target`, and `targets`, the number that follows each one of `target`.

    Args:
        source, target: the vocabularies; they travel with the model to the device.
        max_length: most numbers of a text, its end included; what is longer is cut.
        reverse_source: the source is read from its end.
        wait_k: None: the source is given whole; otherwise source and target alternate, the target `wait_k` words
            behind.
    """

    inputs: ClassVar[tuple[str, ...]] = ("source", "target")
    source: TextCodec
    target: TextCodec
    max_length: int
    reverse_source: bool = False
    wait_k: int | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the model's outputs, in their order."""
        return self.target.entries

    @classmethod
    def fit(cls, train: Sequence[Example], config: PairsConfig) -> PairEncoder:
        """Vocabularies of the two sides of a training split, each by itself."""
        source, target = (
            TextCodec.fit(
                [pair[side] for pair in train],
                config.level,
                size=config.vocabulary,
                min_count=config.min_count,
                lower=config.lower,
            )
            for side in (0, 1)
        )
        return cls(source, target, config.max_length, config.reverse_source, config.wait_k)

    def read(self, text: str) -> NDArray[Any]:
        """The numbers of a source as the model takes them, its end the last."""
        ids = self.source.encode(text)[: self.max_length - 1]
        return np.append(ids[::-1] if self.reverse_source else ids, np.int32(END))

    def encode(self, example: Example) -> Arrays:
        """A pair as `source` (S,), `target` (T,), `targets` (T,); with `wait_k` all are (S + T,), and some weigh 0."""
        source = self.read(example[0])
        written = self.target.encode(example[1])[: self.max_length - 1]
        if self.wait_k is None:
            target, follows = np.append(np.int32(START), written), np.append(written, np.int32(END))
            return {"source": source, "target": target, "targets": follows}
        return self._in_turns(self.wait_k, source[:-1], written)

    def _in_turns(self, k: int, source: NDArray[Any], written: NDArray[Any]) -> Arrays:
        """The steps of `WaitK`: a word is read, one is written; each step reads a piece or writes one.

        The step that reads the last piece of a word is followed by the first piece of the next to be written, or by the
        end: so is, in what it should say, the step that writes the last piece before the next word is read.
        """
        rows: list[tuple[int, int, int]] = []
        left = self.target.units(written)
        for i, unit in enumerate([*self.source.units(source), [END]], 1):
            rows += [(piece, PAD, -1) for piece in unit]
            if i < k and unit != [END]:
                continue
            turn = left if unit == [END] else left[:1]
            left = left[len(turn) :]
            said = [piece for word in turn for piece in word]
            follows = [*said, left[0][0] if left else END]
            rows[-1] = (*rows[-1][:2], follows[0])
            rows += [(PAD, piece, after) for piece, after in zip(said, follows[1:], strict=True)]
        columns = np.array(rows, np.int32).T
        return dict(zip(("source", "target", "targets"), columns, strict=True))

    def to_files(self) -> dict[str, bytes]:
        """The vocabularies as the translator of `streaming` reads them."""
        return {name: codec.to_bytes() for name, codec in zip(_FILES, (self.source, self.target), strict=True)}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], config: PairsConfig) -> PairEncoder:
        """Read what `to_files` wrote; raises ArtifactError where it is missing or damaged."""
        for name in _FILES:
            if name not in files:
                raise ArtifactError(f"{name} is missing; take the files of one run")
        source, target = (TextCodec.from_bytes(files[name]) for name in _FILES)
        return cls(source, target, config.max_length, config.reverse_source, config.wait_k)
