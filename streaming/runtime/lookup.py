"""Strings to ids: the text front end of a model that begins with Keras's StringLookup, Hashing or TextVectorization."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError
from streaming.runtime.hashing import fingerprint64, siphash24

_VERSION = 1
_PUNCTUATION = string.punctuation.encode()


class Table(Protocol):
    """A table that gives the ids of strings."""

    def to_bytes(self) -> bytes:
        """The associated file that holds it."""

    def ids(self, strings: NDArray[Any], name: str, dtype: Any) -> NDArray[Any]:
        """The ids of the strings of an input; raises InputError for what is no string, or has none."""


@dataclass(frozen=True)
class LookupTable:
    """The ids of words.

    words: their ids; unknown: the id of any other string, None where there is none; first, others: if other strings
    have several ids, the first of these, and the hash that chooses among them.
    """

    words: Mapping[str, int]
    unknown: int | None
    first: int = 0
    others: HashTable | None = None

    def to_bytes(self) -> bytes:
        """The associated file that holds it."""
        return _packed("lookup", self.fields())

    def fields(self) -> dict[str, Any]:
        """The fields of the associated file."""
        others = {} if self.others is None else {"first": self.first, "others": self.others.fields()}
        return {"words": dict(self.words), "unknown": self.unknown, **others}

    def ids(self, strings: NDArray[Any], name: str, dtype: Any) -> NDArray[Any]:
        """The ids of strings, in their shape; raises InputError for what is no string, or unknown to the table."""
        numbers = [self.number(item, name) for item in _items(strings, name)]
        return np.array(numbers, dtype).reshape(strings.shape)

    def number(self, item: bytes, name: str) -> int:
        """The id of one string; raises InputError where it has none."""
        text = item.decode("utf-8", "surrogateescape")
        number = self.words.get(text, self.unknown)
        if number is None and self.others is not None:
            number = self.first + self.others.number(item)
        if number is None:
            raise InputError(f"input {name!r} holds {text!r}, which is none of the {len(self.words)} words it takes")
        return number


@dataclass(frozen=True)
class HashTable:
    """Ids by hash: `bins` of them; `masked` has id 0 of its own; `key` of SipHash-2-4, None for FarmHash."""

    bins: int
    masked: str | None = None
    key: tuple[int, int] | None = None

    def to_bytes(self) -> bytes:
        """The associated file that holds it."""
        return _packed("hash", self.fields())

    def fields(self) -> dict[str, Any]:
        """The fields of the associated file."""
        return {"bins": self.bins, "masked": self.masked, "key": self.key and list(self.key)}

    def ids(self, strings: NDArray[Any], name: str, dtype: Any) -> NDArray[Any]:
        """The ids of strings, in their shape; raises InputError for what is no string."""
        return np.array([self.number(item) for item in _items(strings, name)], dtype).reshape(strings.shape)

    def number(self, item: bytes) -> int:
        """The id of one string."""
        reserved = self.masked is not None and self.bins > 1
        if reserved and item == str(self.masked).encode("utf-8", "surrogateescape"):
            return 0
        value = fingerprint64(item) if self.key is None else siphash24(item, self.key)
        return value % (self.bins - reserved) + reserved


@dataclass(frozen=True)
class TextTable:
    """The ids of the tokens of texts.

    lookup: of tokens; standardize: "lower", "strip_punctuation", "lower_and_strip_punctuation" (of ASCII) or None;
    split: "whitespace", "character" or None; ngrams: the lengths of runs of tokens that become one; length: ids of one
    text, which is one step then, zeros after its end; None where each token is a step; cut: whether a text of more
    tokens is cut, or refused.
    """

    lookup: LookupTable
    standardize: str | None = "lower_and_strip_punctuation"
    split: str | None = "whitespace"
    ngrams: tuple[int, ...] | None = None
    length: int | None = None
    cut: bool = True

    def to_bytes(self) -> bytes:
        """The associated file that holds it."""
        how = {"standardize": self.standardize, "split": self.split, "ngrams": self.ngrams and list(self.ngrams)}
        return _packed("text", {**self.lookup.fields(), **how, "length": self.length, "cut": self.cut})

    def ids(self, strings: NDArray[Any], name: str, dtype: Any) -> NDArray[Any]:
        """The ids of texts (n,): (n, length), or (tokens,); raises InputError for what is no text."""
        if strings.ndim > 1:
            raise InputError(f"input {name!r} has shape {strings.shape}, expected texts (n,); give a list of strings")
        rows = [self._tokens(item, name) for item in _items(strings, name)]
        if self.length is None:
            return np.array([number for row in rows for number in row], dtype)
        ids = np.zeros((len(rows), self.length), dtype)
        for place, row in enumerate(rows):
            if len(row) > self.length and not self.cut:
                raise InputError(
                    f"input {name!r} has a text of {len(row)} tokens, expected at most {self.length}; shorten it, or "
                    "convert the model with a larger max_length"
                )
            ids[place, : len(row)] = row[: self.length]
        return ids

    def _tokens(self, text: bytes, name: str) -> list[int]:
        how = self.standardize or ""
        if "lower" in how:
            text = text.lower()
        if "strip_punctuation" in how:
            text = text.translate(None, _PUNCTUATION)
        tokens = [text]
        if self.split == "whitespace":
            tokens = text.split()
        elif self.split == "character":
            tokens = [character.encode() for character in text.decode("utf-8", "replace")]
        if self.ngrams is not None:
            runs = [(start, start + size) for size in self.ngrams for start in range(len(tokens) - size + 1)]
            tokens = [b" ".join(tokens[start:stop]) for start, stop in runs]
        return [self.lookup.number(token, name) for token in tokens]


def read_table(content: bytes, name: str) -> Table:
    """Read an associated file; raises ArtifactError where it is no table of strings."""
    try:
        data = json.loads(content)
        if data["version"] == _VERSION:
            return _KINDS[data["kind"]](data)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        pass
    raise ArtifactError(f"{name} is no table of words that this version reads; convert the model again")


def _items(strings: NDArray[Any], name: str) -> Iterator[bytes]:
    for item in strings.ravel().tolist():
        if isinstance(item, str):
            yield item.encode("utf-8", "surrogateescape")
        elif isinstance(item, bytes):
            yield item
        else:
            raise InputError(f"input {name!r} holds {item!r}, expected strings")


def _packed(kind: str, fields: Mapping[str, Any]) -> bytes:
    return json.dumps({"version": _VERSION, "kind": kind, **fields}).encode()


def _lookup(data: Mapping[str, Any]) -> LookupTable:
    words, unknown, others = data["words"], data["unknown"], data.get("others")
    _need(isinstance(words, dict))
    for item in (*words.values(), *([] if unknown is None else [unknown])):
        _number(item, 0)
    if others is None:
        return LookupTable(words, unknown)
    return LookupTable(words, unknown, _number(data["first"], 0), _hash(others))


def _hash(data: Mapping[str, Any]) -> HashTable:
    masked, key = data["masked"], data["key"]
    _need(masked is None or isinstance(masked, str))
    if key is not None:
        _need(len(key) == 2 and all(type(item) is int for item in key))
        key = (key[0], key[1])
    return HashTable(_number(data["bins"], 1), masked, key)


def _text(data: Mapping[str, Any]) -> TextTable:
    ngrams, length = data["ngrams"], data["length"]
    _need(data["standardize"] in (None, "lower", "strip_punctuation", "lower_and_strip_punctuation"))
    _need(data["split"] in (None, "whitespace", "character") and isinstance(data["cut"], bool))
    ngrams = ngrams and tuple(_number(size, 1) for size in ngrams)
    length = None if length is None else _number(length, 1, 2**16)
    return TextTable(_lookup(data), data["standardize"], data["split"], ngrams, length, data["cut"])


_KINDS: dict[str, Callable[[Mapping[str, Any]], Table]] = {"lookup": _lookup, "hash": _hash, "text": _text}


def _number(value: Any, least: int, limit: int = 2**31 - 1) -> int:
    _need(type(value) is int and least <= value <= limit)
    return int(value)


def _need(condition: bool) -> None:
    if not condition:
        raise ValueError("this is no table")
