"""Encodes words as the integer arrays of a model, by the same code in training and on the device."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError

PADDING, UNKNOWN = 0, 1
_SPECIAL = ("<pad>", "<unk>")
_INPUTS = ("words", "chars", "affixes")
_SUFFIXES = (1, 2, 3, 4)
_PREFIXES = (1, 2, 3)


class Vocabulary:
    """Strings numbered from 2: 0 is padding, 1 is everything unknown.

    Args:
        entries: the strings, in the order of their numbers. None may hold a line break or come twice.
    """

    def __init__(self, entries: Iterable[str]):
        self.entries = tuple(entries)
        self._index = {entry: i for i, entry in enumerate(self.entries, len(_SPECIAL))}
        if len(self._index) != len(self.entries):
            raise ArtifactError("a vocabulary lists each entry once; this one repeats some. Write it anew")

    def __len__(self) -> int:
        return len(self.entries) + len(_SPECIAL)

    def __contains__(self, entry: str) -> bool:
        return entry in self._index

    def id(self, entry: str) -> int:
        """The number of an entry; 1 (unknown) for one that is not listed."""
        return self._index.get(entry, UNKNOWN)

    @classmethod
    def count(cls, items: Iterable[str], min_count: int = 1) -> Vocabulary:
        """Entries seen at least `min_count` times, the most frequent first."""
        counts = Counter(items)
        kept = [item for item, n in counts.items() if n >= min_count and not re.search(r"[\r\n]", item)]
        return cls(sorted(kept, key=lambda item: (-counts[item], item)))

    def to_bytes(self) -> bytes:
        """One entry a line, in UTF-8."""
        return "".join(f"{entry}\n" for entry in self.entries).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Vocabulary:
        """Read what `to_bytes` wrote.

        Raises:
            ArtifactError: the bytes are not UTF-8, or an entry repeats.
        """
        try:
            lines = data.decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise ArtifactError(f"a vocabulary is UTF-8 text; this is not ({error})") from error
        return cls(lines[:-1] if lines and not lines[-1] else lines)


def word_shape(word: str) -> str:
    """The shape of a word: letter case and digits, without repeats: `McDonald's-2020` -> `XxXx'x-d`."""
    kinds = ("X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in word)
    shape: list[str] = []
    for kind in kinds:
        if not shape or shape[-1] != kind:
            shape.append(kind)
    return "".join(shape[:10])


def affixes(word: str) -> list[str]:
    """The suffixes of 1 to 4 characters, the prefixes of 1 to 3, and the shape, each marked by its kind.

    Runs of digits count as one `0`, so that numbers share their affixes.
    """
    plain = re.sub(r"\d+", "0", word.lower())
    parts = [f"-{n}{plain[-n:]}" for n in _SUFFIXES]
    parts += [f"+{n}{plain[:n]}" for n in _PREFIXES]
    return [*parts, f"={word_shape(word)}"]


AFFIXES = len(_SUFFIXES) + len(_PREFIXES) + 1


@dataclass(frozen=True)
class WordEncoder:
    """Turns words into the integer arrays of a model's inputs.

    Args:
        words: lower-cased words.
        chars: characters, case kept.
        affixes: prefixes, suffixes and shapes, as `affixes` names them.
        labels: names of the model's outputs, in order.
        inputs: which arrays to make: any of `words`, `chars`, `affixes`.
        max_word_length: characters of a word the model sees; from a longer word, half from its start and half from its
            end.
    """

    words: Vocabulary
    labels: tuple[str, ...]
    chars: Vocabulary = field(default_factory=lambda: Vocabulary(()))
    affixes: Vocabulary = field(default_factory=lambda: Vocabulary(()))
    inputs: tuple[str, ...] = _INPUTS
    max_word_length: int = 20

    def __post_init__(self) -> None:
        if not self.inputs or any(name not in _INPUTS for name in self.inputs):
            raise InputError(f"encoder inputs are among {', '.join(_INPUTS)}; received {list(self.inputs)}")
        if self.max_word_length < 2:
            raise InputError(f"max_word_length is at least 2; received {self.max_word_length}")

    @classmethod
    def fit(
        cls,
        sentences: Iterable[Sequence[str]],
        labels: Sequence[str],
        *,
        inputs: Sequence[str] = _INPUTS,
        min_count: int = 2,
        affix_min_count: int = 3,
        max_word_length: int = 20,
    ) -> WordEncoder:
        """An encoder whose vocabularies come from these sentences (the training split, and nothing else)."""
        words = [word for sentence in sentences for word in sentence]
        chars = (c for word in words for c in word) if "chars" in inputs else ()
        parts = (part for word in words for part in affixes(word)) if "affixes" in inputs else ()
        return cls(
            words=Vocabulary.count((word.lower() for word in words), min_count),
            chars=Vocabulary.count(chars),
            affixes=Vocabulary.count(parts, affix_min_count),
            labels=tuple(labels),
            inputs=tuple(inputs),
            max_word_length=max_word_length,
        )

    def encode(self, words: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Arrays (n, ...) of int32, by input name.

        Args:
            words: n words; none may be empty.

        Returns:
            `words` (n,), `chars` (n, max_word_length), `affixes` (n, 8): those in `inputs`.

        Raises:
            InputError: something is not a word.
        """
        for word in words:
            if not isinstance(word, str) or not word:
                raise InputError(f"a word is a string that is not empty; received {word!r}")
        make = {"words": self._word_ids, "chars": self._char_ids, "affixes": self._affix_ids}
        return {name: make[name](words) for name in self.inputs}

    def count_unknown(self, words: Iterable[str]) -> int:
        """Number of the words that are not in the vocabulary."""
        return sum(word.lower() not in self.words for word in words)

    def _word_ids(self, words: Sequence[str]) -> NDArray[Any]:
        return np.array([self.words.id(word.lower()) for word in words], np.int32)

    def _char_ids(self, words: Sequence[str]) -> NDArray[Any]:
        size = self.max_word_length
        ids = np.zeros((len(words), size), np.int32)
        for row, word in zip(ids, words, strict=True):
            seen = word if len(word) <= size else word[: size // 2] + word[-(size - size // 2) :]
            row[: len(seen)] = [self.chars.id(c) for c in seen]
        return ids

    def _affix_ids(self, words: Sequence[str]) -> NDArray[Any]:
        ids = [[self.affixes.id(part) for part in affixes(word)] for word in words]
        return np.array(ids, np.int32).reshape(len(words), AFFIXES)

    def to_files(self) -> dict[str, bytes]:
        """The encoder as named files, for an artifact or a saved run."""
        settings = {"inputs": list(self.inputs), "max_word_length": self.max_word_length}
        return {
            "words.txt": self.words.to_bytes(),
            "chars.txt": self.chars.to_bytes(),
            "affixes.txt": self.affixes.to_bytes(),
            "labels.txt": "".join(f"{label}\n" for label in self.labels).encode(),
            "features.json": json.dumps(settings, sort_keys=True).encode(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> WordEncoder:
        """Read what `to_files` made.

        Raises:
            ArtifactError: a file is missing or damaged.
        """
        for name in ("words.txt", "chars.txt", "affixes.txt", "labels.txt", "features.json"):
            if name not in files:
                raise ArtifactError(f"a word encoder needs {name}; the artifact holds {sorted(files)}")
        try:
            settings = json.loads(files["features.json"])
            inputs, size = tuple(settings["inputs"]), int(settings["max_word_length"])
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"features.json is damaged ({error}). Export the model anew") from error
        return cls(
            words=Vocabulary.from_bytes(files["words.txt"]),
            chars=Vocabulary.from_bytes(files["chars.txt"]),
            affixes=Vocabulary.from_bytes(files["affixes.txt"]),
            labels=Vocabulary.from_bytes(files["labels.txt"]).entries,
            inputs=inputs,
            max_word_length=size,
        )
