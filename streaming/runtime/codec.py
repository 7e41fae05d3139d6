"""Running text as the numbers of a sequence model, and back: characters, words or subwords."""

from __future__ import annotations

import functools
import heapq
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError

PAD, UNKNOWN, START, END = 0, 1, 2, 3
SPECIAL = ("<pad>", "<unk>", "<start>", "<end>")
KINDS = ("characters", "words", "subwords")
# Stands for the space before a piece, so that pieces joined are the text again (Kudo and Richardson 2018).
_SPACE = "\u2581"
_PIECE = re.compile(r"(\s*)(\w+|[^\w\s])")
_LETTER = re.compile(r"\w")
# Words whose pieces are remembered, and the longest of them: at most some ten megabytes.
_REMEMBERED, _REMEMBERED_LENGTH = 10_000, 24


@dataclass(frozen=True)
class TextCodec:
    """Text to numbers and back.

    Args:
        entries: the pieces by their numbers; the first four are `SPECIAL`.
        kind: "characters"; "words" (runs of letters and digits, and single punctuation marks); "subwords" (words split
            by byte-pair encoding, Sennrich et al. 2016).
        merges: pairs of pieces that become one, the first merge first; for subwords.
        lower: whether text is lower-cased first.

    Raises:
        ArtifactError: the entries do not begin with `SPECIAL` or repeat, or the kind is unknown.
    """

    entries: tuple[str, ...]
    kind: str = "characters"
    merges: tuple[tuple[str, str], ...] = ()
    lower: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.entries[: len(SPECIAL)] != SPECIAL or len(self._index) != len(self.entries):
            raise ArtifactError(
                f"a text codec is of the kind {', '.join(KINDS)} with different entries after {', '.join(SPECIAL)}; "
                f"this one of {self.kind!r} is not. Write it anew"
            )

    def __len__(self) -> int:
        return len(self.entries)

    @classmethod
    def fit(
        cls, texts: Iterable[str], kind: str, *, size: int | None = None, min_count: int = 1, lower: bool = False
    ) -> TextCodec:
        """A codec for these texts (the training split, and nothing else).

        Args:
            texts: lines, sentences, or a whole text.
            kind: as above.
            size: most entries, special ones included; None: no bound. Subwords need one.
            min_count: less frequent entries are left out; for subwords, less frequent characters and merges.
            lower: lower-case.

        Raises:
            InputError: the kind is unknown, or subwords have no size.
        """
        if kind not in KINDS or (kind == "subwords" and not size):
            raise InputError(f"kind is {kind!r} and size {size}; expected {', '.join(KINDS)}, subwords with a size")
        counts = Counter(part for text in texts for part in _split(text.lower() if lower else text, kind))
        merges: list[tuple[str, str]] = []
        if kind == "subwords":
            letters = Counter[str]()
            for word, count in counts.items():
                letters.update({c: word.count(c) * count for c in set(word)})
            merges = _learn(counts, (size or 0) - len(SPECIAL) - len(letters), min_count)
            entries = [*_frequent(letters, min_count), *dict.fromkeys("".join(pair) for pair in merges)]
        else:
            entries = _frequent(counts, min_count)
        kept = [entry for entry in entries if entry not in SPECIAL]
        return cls((*SPECIAL, *kept[: None if size is None else size - len(SPECIAL)]), kind, tuple(merges), lower)

    def pieces(self, text: str) -> list[str]:
        """Pieces of a text; also those that have no number."""
        parts = _split(text.lower() if self.lower else text, self.kind)
        return parts if self.kind != "subwords" else [piece for part in parts for piece in self._merged(part)]

    def encode(self, text: str) -> NDArray[Any]:
        """The numbers of the pieces, (n,) of int32; 1 for those that are unknown."""
        return np.array([self._index.get(piece, UNKNOWN) for piece in self.pieces(text)], np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of numbers; padding, start and end are left out.

        Raises:
            InputError: a number has no entry.
        """
        return self.text(ids).strip() if self.kind != "characters" else self.text(ids)

    def text(self, ids: Iterable[int]) -> str:
        """`decode` that keeps the space before a first word, so that parts of a text can be concatenated."""
        parts = []
        for number in map(int, ids):
            if not 0 <= number < len(self.entries):
                raise InputError(f"{number} is no number of the vocabulary, expected 0 to {len(self.entries) - 1}")
            if number not in (PAD, START, END):
                # A word that is unknown has lost its space too.
                lost = _SPACE if number == UNKNOWN and self.kind == "words" else ""
                parts.append(lost + self.entries[number])
        joined = "".join(parts)
        return joined if self.kind == "characters" else joined.replace(_SPACE, " ")

    def begins_word(self, number: int) -> bool:
        """Whether a piece begins a new word."""
        lost = number == UNKNOWN and self.kind == "words"
        return lost or self.kind == "characters" or self.entries[number].startswith(_SPACE)

    def units(self, ids: Iterable[int]) -> list[list[int]]:
        """The numbers, grouped by words and punctuation marks."""
        units: list[list[int]] = []
        for number in map(int, ids):
            if self.begins_unit(number) or not units:
                units.append([])
            units[-1].append(number)
        return units

    def begins_unit(self, number: int) -> bool:
        """Whether a piece begins a word, or is a punctuation mark after a word without a space."""
        return self.begins_word(number) or not _LETTER.match(self.entries[number])

    def to_bytes(self) -> bytes:
        """The codec as a file of JSON."""
        data = {"kind": self.kind, "lower": self.lower, "entries": self.entries, "merges": self.merges}
        return json.dumps(data, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> TextCodec:
        """Read what `to_bytes` wrote; raises ArtifactError where it is damaged."""
        try:
            stored = json.loads(data)
            merges = tuple((str(a), str(b)) for a, b in stored["merges"])
            entries = tuple(map(str, stored["entries"]))
            return cls(entries, str(stored["kind"]), merges, bool(stored["lower"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ArtifactError(f"a text codec is damaged ({error}). Export the model anew") from error

    @functools.cached_property
    def _index(self) -> dict[str, int]:
        return {entry: i for i, entry in enumerate(self.entries)}

    @functools.cached_property
    def _ranks(self) -> dict[tuple[str, str], int]:
        return {pair: i for i, pair in enumerate(self.merges)}

    @functools.cached_property
    def _known(self) -> dict[str, list[str]]:
        return {}

    def _merged(self, word: str) -> list[str]:
        known = self._known
        if word in known:
            return known[word]
        parts = _merge(word, self._ranks)
        if len(word) <= _REMEMBERED_LENGTH:
            if len(known) >= _REMEMBERED:
                known.clear()
            known[word] = parts
        return parts


def _split(text: str, kind: str) -> list[str]:
    if kind == "characters":
        return list(text)
    # White space at the end belongs to no piece, and would be looked at from each of its places.
    matches = _PIECE.finditer(text.rstrip().replace(_SPACE, "_"))
    return [(_SPACE if m.group(1) or not m.start() else "") + m.group(2) for m in matches]


def _frequent(counts: Counter[str], min_count: int) -> list[str]:
    return sorted((item for item, n in counts.items() if n >= min_count), key=lambda item: (-counts[item], item))


def _merge(word: str, ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """The pieces of a word: the first merge that fits is made everywhere from the left, then the next first one.

    O(n log n) for n characters: pairs wait in a queue by their rank and place, neighbours are linked.
    """
    parts: list[str | None] = list(word)
    after, before = list(range(1, len(word) + 1)), list(range(-1, len(word) - 1))
    queue: list[tuple[int, int, str, str]] = []

    def put(place: int, following: int) -> None:
        left, right = parts[place], parts[following]
        assert left is not None
        assert right is not None
        rank = ranks.get((left, right))
        if rank is not None:
            heapq.heappush(queue, (rank, place, left, right))

    for place in range(len(word) - 1):
        put(place, place + 1)
    while queue:
        rank, made = queue[0][0], []
        # A merge may make pairs of an earlier rank: they wait until it is made everywhere.
        while queue and queue[0][0] == rank:
            _, place, left, right = heapq.heappop(queue)
            following = after[place]
            if following < len(word) and parts[place] == left and parts[following] == right:
                parts[place], parts[following] = left + right, None
                after[place] = after[following]
                if after[place] < len(word):
                    before[after[place]] = place
                made.append(place)
        pairs = {(before[place], place) for place in made} | {(place, after[place]) for place in made}
        for place, following in pairs:
            if place >= 0 and following < len(word):
                put(place, following)
    return [part for part in parts if part is not None]


def _join(parts: Sequence[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for part in parts:
        # A piece just made cannot be the left half of the same merge: it is longer.
        if joined and joined[-1] == pair[0] and part == pair[1]:
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _learn(counts: Counter[str], most: int, min_count: int) -> list[tuple[str, str]]:
    """Byte-pair encoding: the most frequent pair becomes one piece, again and again; ties by the pairs' order."""
    words = [(list(word), count) for word, count in sorted(counts.items())]
    pairs, places = Counter[tuple[str, str]](), dict[tuple[str, str], set[int]]()

    def count(index: int, sign: int) -> list[tuple[str, str]]:
        parts, number = words[index]
        adjacent = list(itertools.pairwise(parts))
        for pair in adjacent:
            pairs[pair] += sign * number
            places.setdefault(pair, set()).add(index)
        return adjacent

    for index in range(len(words)):
        count(index, 1)
    # Counts in the queue may be old: one that is not the pair's own is dropped, a newer one was put in.
    queue = [(-number, pair) for pair, number in pairs.items()]
    heapq.heapify(queue)
    merges: list[tuple[str, str]] = []
    while len(merges) < most and queue:
        number, best = heapq.heappop(queue)
        if pairs[best] != -number:
            continue
        if -number < max(min_count, 1):
            break
        merges.append(best)
        changed = set[tuple[str, str]]()
        for index in places.pop(best):
            changed.update(count(index, -1))
            words[index] = _join(words[index][0], best), words[index][1]
            changed.update(count(index, 1))
        del pairs[best]
        for pair in changed - {best}:
            heapq.heappush(queue, (-pairs[pair], pair))
    return merges
