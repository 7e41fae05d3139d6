"""Tiny Shakespeare play by play: passages of whole speeches, and the play that each is from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.builder import DownloadedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms
from rnnzoo.errors import DataError

_NAME = "shakespeare_plays"
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_PAGE = "https://github.com/karpathy/char-rnn"
_COMMIT = "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
# The file does not say where a play begins: what is said first in each, in the order of the file.
OPENINGS = {
    "Coriolanus": "First Citizen:\nBefore we proceed any further, hear me speak.",
    "Richard III": "GLOUCESTER:\nNow is the winter of our discontent",
    "Richard II": "KING RICHARD II:\nOld John of Gaunt, time-honour'd Lancaster,",
    "Romeo and Juliet": "SAMPSON:\nGregory, o' my word, we'll not carry coals.",
    "Henry VI, Part 3": "WARWICK:\nI wonder how the king escaped our hands.",
    "The Winter's Tale": "ARCHIDAMUS:\nIf you shall chance, Camillo, to visit Bohemia, on",
    "Measure for Measure": "DUKE VINCENTIO:\nEscalus.",
    "The Taming of the Shrew": "SLY:\nI'll pheeze you, in faith.",
    "The Tempest": "Master:\nBoatswain!",
}
# A passage ends with the first speech that ends behind its LEAST characters, at the latest with the first line that
# ends behind its MOST.
LEAST, MOST = 400, 600
# Of twenty passages of a play, the last is in the test split, the one before in that for development.
_PARTS = 20

register_terms(
    _NAME,
    title="Tiny Shakespeare by play",
    licence="LicenseRef-public-domain",
    citation="Karpathy (2015), char-rnn",
    url=_PAGE,
)


@register_dataset(_NAME, "styled-lines")
def read_plays(config: DataConfig) -> Splits:
    """Passages of nine plays: the last twentieth of each is the test split, the one before it dev.

    The plays take turns, so that the first passages of a split are of all plays.
    """
    return {split: _in_turn(rows(_NAME, name)) for name, split in _SPLITS.items()}


def _in_turn(found: Iterable[dict[str, Any]]) -> list[Example]:
    by_play: dict[str, list[Example]] = {}
    for row in found:
        text, play = row["text"].decode(), row["play"].decode()
        by_play.setdefault(play, []).append((text, play))
    return [example for turn in itertools.zip_longest(*by_play.values()) for example in turn if example]


def plays(text: str) -> dict[str, str]:
    """The text of each play of the file.

    Raises:
        DataError: an opening is missing, twice there, or out of order.
    """
    if wrong := [play for play, opening in OPENINGS.items() if text.count(opening) != 1]:
        raise DataError(f"expected the opening of {wrong[0]} once; found {text.count(OPENINGS[wrong[0]])}")
    starts = [text.index(opening) for opening in OPENINGS.values()]
    if starts != sorted(starts):
        raise DataError(f"expected the plays in the order {', '.join(OPENINGS)}; found another")
    ends = [*starts[1:], len(text)]
    return {play: text[begin:end].strip() for play, begin, end in zip(OPENINGS, starts, ends, strict=True)}


def passages(play: str) -> list[str]:
    """A play cut at the ends of speeches, or of lines where a speech is long; each passage ends with a line feed."""
    cut, held = [], ""
    for line in play.splitlines():
        if held or line:
            held += line + "\n"
        if (not line and len(held) > LEAST) or len(held) > MOST:
            cut.append(held.rstrip("\n") + "\n")
            held = ""
    return [*cut, held] if held else cut


class ShakespearePlays(DownloadedFiles):
    """A passage of a play; public domain."""

    VERSION = "1.0.0"
    FILES = {
        "input.txt": f"https://raw.githubusercontent.com/karpathy/char-rnn/{_COMMIT}/data/tinyshakespeare/input.txt"
    }
    MIRROR = "tiny_shakespeare"

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        text = tfds.features.Text()
        features = tfds.features.FeaturesDict({"text": text, "play": text})
        return self.dataset_info_from_configs(features=features, homepage=_PAGE, disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> Any:
        path = self.paths(dl_manager)["input.txt"]
        return {name: self._generate_examples(path, split) for name, split in _SPLITS.items()}

    def _generate_examples(self, path: Path, split: str) -> Iterator[tuple[int, dict[str, str]]]:
        number = 0
        for play, text in plays(path.read_text(encoding="utf-8")).items():
            cut = passages(text)
            test = len(cut) - len(cut) // _PARTS
            dev = test - len(cut) // _PARTS
            parts = {"train": cut[:dev], "dev": cut[dev:test], "test": cut[test:]}
            for passage in parts[split]:
                yield number, {"text": passage, "play": play}
                number += 1
