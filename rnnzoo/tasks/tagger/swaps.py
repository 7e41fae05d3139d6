"""Entities that take the place of others of their type, in training."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnnzoo.data.batching import Arrays
from rnnzoo.data.files.reading import read_lines
from rnnzoo.data.source import Example, known_datasets, read_source
from rnnzoo.errors import DataError
from rnnzoo.tasks.tagger.config import TaggedWordsConfig
from rnnzoo.tasks.tagger.entities import entities
from rnnzoo.util.suggest import suggest
from streaming.runtime.text import WordEncoder

# How often an entry of a gazetteer comes, where there is one for a type.
_LISTED = 0.5


class Swaps:
    """Replaces entities in encoded sentences.

    Args:
        config: the share of entities, and the gazetteers.
        encoder: of words; the labels are its own.
        train: sentences and tags, whose entities are the others.

    Raises:
        DataError: there are no entities; a gazetteer is neither a data set nor a file, is empty, or is one of a type
            that no entity has.
    """

    def __init__(self, config: TaggedWordsConfig, encoder: WordEncoder, train: Sequence[Example]):
        self._share, self._encoder = config.swap, encoder
        self._numbers = {label: number for number, label in enumerate(encoder.labels)}
        self._known: dict[str, list[list[str]]] = {}
        for words, tags in train:
            for kind, begin, end in entities(tags):
                self._known.setdefault(kind, []).append(list(words[begin:end]))
        if not self._known:
            raise DataError(
                "data.swap is for entities, but no tag of the training split begins with B- or I-: set it to 0"
            )
        self._listed: dict[str, list[list[str]]] = {}
        for entry in config.gazetteers:
            kind, _, name = entry.partition("=")
            self._listed.setdefault(kind, []).extend(read_gazetteer(name, config))
        if strange := sorted(set(self._listed) - set(self._known)):
            raise DataError(
                f"data.gazetteers has a list for {strange[0]!r}, which no entity of the training split is: "
                f"{suggest(strange[0], list(self._known))}"
            )

    def apply(self, row: Arrays, rng: np.random.Generator) -> Arrays:
        """A sentence with some of its entities replaced; arrays (T, ...) of its words and `targets` (T,)."""
        words = {name: array for name, array in row.items() if name != "targets"}
        pieces: list[Arrays] = []
        at = 0
        for kind, begin, end in entities([self._encoder.labels[i] if i >= 0 else "" for i in row["targets"]]):
            if rng.random() < self._share:
                pieces.append({name: array[at:begin] for name, array in row.items()})
                pieces.append(self._drawn(kind, {name: array[begin:end] for name, array in words.items()}, rng))
                at = end
        if not pieces:
            return row
        pieces.append({name: array[at:] for name, array in row.items()})
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in row}

    def _drawn(self, kind: str, own: Arrays, rng: np.random.Generator) -> Arrays:
        """Arrays of an entity of a type in place of `own`."""
        listed = self._listed.get(kind)
        if listed and rng.random() < _LISTED:
            entry = self._encoder.encode(listed[rng.integers(len(listed))])
            kept = max(0, len(own["words"]) - len(entry["words"]))
            made = {name: np.concatenate([own[name][:kept], entry[name]]) for name in own}
        else:
            known = self._known[kind]
            made = self._encoder.encode(known[rng.integers(len(known))])
        # Of some types there is no entity of several words.
        numbers = [self._numbers[tag] for tag in (f"B-{kind}", f"I-{kind}") if tag in self._numbers]
        targets = np.full(len(made["words"]), numbers[-1], np.int32)
        targets[0] = numbers[0]
        return {**made, "targets": targets}


def read_gazetteer(name: str, config: TaggedWordsConfig) -> list[list[str]]:
    """The entities of a list, each as its words.

    Raises:
        DataError: it is neither a data set of texts nor a file, cannot be read, or is empty.
    """
    known = known_datasets()
    if known.get(name, "").startswith("text-"):
        plain = dataclasses.replace(config, dataset=name, gazetteers=(), swap=0.0)
        rows = read_source(plain).splits["train"]
        # Texts of some sets come as characters.
        found = [("".join(text) if isinstance(text, list) else text).split() for text, _ in rows]
    elif Path(name).is_file():
        found = [line.split() for _, line in read_lines(Path(name), config.encoding)]
    else:
        texts = [key for key, kind in known.items() if kind.startswith("text-") and not key.endswith((":", "/"))]
        raise DataError(f"the gazetteer {name!r} is no file and no data set of texts; {suggest(name, texts)}")
    found = [words for words in found if words]
    if not found:
        raise DataError(f"the gazetteer {name!r} holds no entity; write one a line")
    return found
